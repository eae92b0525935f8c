/** A grid of images; while a teacher decides, the parts that are still open are covered. */
import type { Pictures } from '@dimo/pipeline/worker-client';
import { make } from './elements.js';

/** A grid of images. */
export interface Tiles {
  /** Makes room for images with these labels, keeping what is drawn where nothing changes. */
  layOut(labels: readonly string[], shape: TileShape): void;
  /** Draws images; `isDecided` [count * rows * columns] says which cells are shown. */
  draw(pictures: Pictures, isDecided?: Uint8Array): void;
  /** Covers all cells. */
  clear(): void;
}

/** What all images of a grid have in common. */
export interface TileShape {
  readonly width: number;
  readonly height: number;
  /** Rows and columns of the token grid. */
  readonly grid: readonly [rows: number, columns: number];
}

/** Pixels of a canvas along its longer side, at least. */
const wantedPixels = 224;

/**
 * @param container - the element that holds the grid.
 * @param maker - who draws, for the labels that screen readers read.
 */
export function createTiles(container: HTMLElement, maker: string): Tiles {
  let canvases: HTMLCanvasElement[] = [];
  let layout = '';
  let shape: TileShape = { width: 1, height: 1, grid: [1, 1] };
  const source = document.createElement('canvas');

  /** Kept out of the GPU, which has other work. */
  const contextOf = (canvas: HTMLCanvasElement): CanvasRenderingContext2D =>
    canvas.getContext('2d', { willReadFrequently: true })!;

  function cover(canvas: HTMLCanvasElement, isOpen: (cell: number) => boolean): void {
    const context = contextOf(canvas);
    const style = getComputedStyle(container);
    const [rows, columns] = shape.grid;
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    for (let cell = 0; cell < rows * columns; cell++) {
      if (!isOpen(cell)) continue;
      const [x, y] = [(cell % columns) * width, Math.floor(cell / columns) * height];
      context.fillStyle = style.getPropertyValue('--undecided');
      context.fillRect(x, y, width, height);
      context.fillStyle = style.getPropertyValue('--undecided-dot');
      context.beginPath();
      context.arc(x + width / 2, y + height / 2, Math.min(width, height) * 0.13, 0, 2 * Math.PI);
      context.fill();
    }
  }

  const describe = (canvas: HTMLCanvasElement, state: string): void =>
    canvas.setAttribute('aria-label', `${canvas.dataset['label'] || 'image'} by the ${maker}${state}`);

  return {
    layOut(labels, newShape) {
      const wanted = JSON.stringify([labels, newShape]);
      if (wanted === layout) return;
      layout = wanted;
      shape = newShape;
      const scale = Math.max(1, Math.ceil(wantedPixels / Math.max(shape.width, shape.height)));
      canvases = labels.map((label) => {
        const canvas = make('canvas', { width: shape.width * scale, height: shape.height * scale });
        canvas.setAttribute('role', 'img');
        canvas.dataset['label'] = label;
        describe(canvas, ', not drawn yet');
        return canvas;
      });
      container.dataset['count'] = String(labels.length);
      container.style.setProperty('--ratio', String(shape.width / shape.height));
      container.replaceChildren(
        ...canvases.map((canvas, i) =>
          make('figure', {}, canvas, make('figcaption', { title: labels[i]! }, labels[i]!)),
        ),
      );
    },
    draw({ count, width, height, rgba }, isDecided) {
      [source.width, source.height] = [width, height];
      const pixels = contextOf(source);
      const cells = shape.grid[0] * shape.grid[1];
      const size = width * height * 4;
      canvases.slice(0, count).forEach((canvas, i) => {
        pixels.putImageData(new ImageData(rgba.slice(i * size, (i + 1) * size), width, height), 0, 0);
        const context = contextOf(canvas);
        context.imageSmoothingEnabled = false;
        context.clearRect(0, 0, canvas.width, canvas.height);
        context.drawImage(source, 0, 0, canvas.width, canvas.height);
        const isOpen = (cell: number): boolean => isDecided?.[i * cells + cell] === 0;
        if (isDecided) cover(canvas, isOpen);
        const decided = isDecided?.subarray(i * cells, (i + 1) * cells).reduce((sum, value) => sum + value, 0) ?? cells;
        describe(canvas, decided < cells ? `, ${Math.round((100 * decided) / cells)} % decided` : '');
      });
    },
    clear() {
      for (const canvas of canvases) {
        contextOf(canvas).clearRect(0, 0, canvas.width, canvas.height);
        cover(canvas, () => true);
        describe(canvas, ', not drawn yet');
      }
    },
  };
}
