/** A picture that was drawn, and the ways out of the program. */
import { OptionError, sizeOf, type HostTensor } from '@dimo/core';
import { imageGrid, toByte } from './image-grid.js';

/** `ImageData`, where there are canvases. */
export type CanvasPixels = typeof globalThis extends { ImageData: { prototype: infer T } } ? T : unknown;

/** A canvas of a page or of a worker. */
export interface CanvasLike {
  width: number;
  height: number;
  getContext(kind: '2d'): unknown;
}

/** A picture. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** float32 [height, width, C] in [0, 1]; C is 1 (gray), 3 (RGB) or 4 (RGB and opacity). */
  readonly image: HostTensor<'float32'>;
  /** The tokens that it was decoded from, int32 [L]. */
  readonly tokens: HostTensor<'int32'>;
  /** The prompt or class it was drawn for, as given; empty where nothing was asked for. */
  readonly prompt: string;
  /** Name of the class, where the prompt is a class. */
  readonly className: string | undefined;
  /** The same seed and index give the same picture, whatever is drawn with it. */
  readonly seed: number;
  readonly index: number;
  /** Forward passes that it took. */
  readonly passes: number;
  /** [height, width, 4] bytes: RGB and opacity. */
  rgba(): Uint8ClampedArray<ArrayBuffer>;
  /** Bytes of a PNG. */
  png(): Uint8Array<ArrayBuffer>;
  /** The PNG as a blob: for `URL.createObjectURL`, uploads and downloads. */
  toBlob(): Blob;
  /** @throws OptionError where there are no canvases */
  toImageData(): CanvasPixels;
  /** Sets the size of a canvas to that of the picture and draws it. */
  drawTo(canvas: CanvasLike): void;
  /**
   * Writes the PNG into a file, whole or not at all. Node only.
   *
   * @param path - ends in `.png`.
   * @throws OptionError for another ending, or in a browser; DimoError with code `io` if it cannot be written.
   */
  save(path: string): Promise<void>;
}

/** What a picture is made of. */
export type PictureContent = Omit<
  Picture,
  'width' | 'height' | 'rgba' | 'png' | 'toBlob' | 'toImageData' | 'drawTo' | 'save'
>;

/** Writes a file; browsers have none. */
export type SaveFile = (path: string, bytes: Uint8Array) => Promise<void>;

type PixelsConstructor = new (data: Uint8ClampedArray<ArrayBuffer>, width: number, height: number) => CanvasPixels;

/** Makes a picture. @throws OptionError for other channels */
export function makePicture(content: PictureContent, saveFile: SaveFile): Picture {
  const { image } = content;
  const [height, width, channels] = image.shape as [number, number, number];
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new OptionError(`images must have 1, 3 or 4 channels, got ${channels}`);
  const rgba = (): Uint8ClampedArray<ArrayBuffer> => rgbaOf(image.data, channels);
  const png = (): Uint8Array<ArrayBuffer> =>
    Uint8Array.from(imageGrid({ ...image, shape: [1, ...image.shape] }, 1, { gap: 0 }));
  const toImageData = (): CanvasPixels => {
    const { ImageData } = globalThis as { readonly ImageData?: PixelsConstructor };
    if (!ImageData) throw new OptionError('there are no canvases here', { hint: 'use rgba(), png() or save(path)' });
    return new ImageData(rgba(), width, height);
  };
  return {
    ...content,
    width,
    height,
    rgba,
    png,
    toBlob: () => new Blob([png()], { type: 'image/png' }),
    toImageData,
    drawTo(canvas) {
      const context = canvas.getContext('2d') as {
        putImageData(data: CanvasPixels, x: number, y: number): void;
      } | null;
      if (!context)
        throw new OptionError('drawTo: this canvas has no 2d context', { hint: 'give a canvas of its own' });
      canvas.width = width;
      canvas.height = height;
      context.putImageData(toImageData(), 0, 0);
    },
    async save(path) {
      if (typeof path !== 'string' || !/\.png$/i.test(path))
        throw new OptionError(`save: the file must end in .png, got ${JSON.stringify(path)}`);
      await saveFile(path, png());
    },
  };
}

/** RGB and opacity of images with 1, 3 or 4 channels, in [0, 1]. */
export function rgbaOf(data: Float32Array, channels: number): Uint8ClampedArray<ArrayBuffer> {
  const rgba = new Uint8ClampedArray((data.length / channels) * 4);
  for (let from = 0, to = 0; to < rgba.length; from += channels, to += 4) {
    rgba[to] = toByte(data[from]!);
    rgba[to + 1] = toByte(data[channels === 1 ? from : from + 1]!);
    rgba[to + 2] = toByte(data[channels === 1 ? from : from + 2]!);
    rgba[to + 3] = channels === 4 ? toByte(data[from + 3]!) : 255;
  }
  return rgba;
}

/** One image of a batch: float32 [H, W, C]. */
export function imageAt({ shape, data }: HostTensor<'float32'>, index: number): HostTensor<'float32'> {
  const size = sizeOf(shape.slice(1));
  return { dtype: 'float32', shape: shape.slice(1), data: data.slice(index * size, (index + 1) * size) };
}
