/** Pictures of many images at once. */
import { checkHostTree, OptionError, ShapeError, type HostTensor } from '@dimo/core';
import { encode } from 'fast-png';

/** Options of `imageGrid`. */
export interface ImageGridOptions {
  /** Pixels between images, at the grid's scale, 0 .. 1024. @default 2 */
  readonly gap?: number;
  /** Side of the square that each pixel becomes, 1 .. 16. @default 1 */
  readonly scale?: number;
}

/**
 * A PNG with the images row by row.
 *
 * @param images - float32 [B, H, W, C] in [0, 1] (values outside are clipped, NaN is black), C from 1 to 4: gray, gray and
 *   opacity, RGB, RGB and opacity.
 * @param columns - images per row.
 * @returns the bytes of an 8-bit PNG.
 * @throws ShapeError for another shape or no images. @throws OptionError
 */
export function imageGrid(images: HostTensor<'float32'>, columns: number, options: ImageGridOptions = {}): Uint8Array {
  const { gap = 2, scale = 1 } = options;
  const [count, height, width, channels] = images.shape as [number, number, number, number];
  if (images.shape.length !== 4 || count < 1 || !(channels >= 1 && channels <= 4))
    throw new ShapeError(
      `imageGrid: images must be float32 [batch >= 1, height, width, 1 to 4], got [${images.shape.join(', ')}]`,
    );
  if (!Number.isInteger(columns) || columns < 1)
    throw new OptionError(`imageGrid: columns must be a positive integer, got ${columns}`);
  if (!Number.isInteger(scale) || scale < 1 || scale > 16 || !Number.isInteger(gap) || gap < 0 || gap > 1024)
    throw new OptionError(
      `imageGrid: scale must be an integer from 1 to 16 and gap one from 0 to 1024, got ${scale}, ${gap}`,
    );
  checkHostTree('imageGrid', { images });
  const usedColumns = Math.min(columns, count);
  const rows = Math.ceil(count / usedColumns);
  const total = [
    rows * height * scale + (rows - 1) * gap,
    usedColumns * width * scale + (usedColumns - 1) * gap,
  ] as const;
  const pixels = new Uint8Array(total[0] * total[1] * channels).fill(gridGray);
  // Between the images the grid is opaque.
  if (channels % 2 === 0) for (let i = channels - 1; i < pixels.length; i += channels) pixels[i] = 255;
  for (let i = 0; i < count; i++) {
    const top = Math.floor(i / usedColumns) * (height * scale + gap);
    const left = (i % usedColumns) * (width * scale + gap);
    for (let y = 0; y < height * scale; y++)
      for (let x = 0; x < width * scale; x++) {
        const source = ((i * height + Math.floor(y / scale)) * width + Math.floor(x / scale)) * channels;
        const target = ((top + y) * total[1] + left + x) * channels;
        for (let c = 0; c < channels; c++) pixels[target + c] = toByte(images.data[source + c]!);
      }
  }
  return encode({ width: total[1], height: total[0], data: pixels, channels, depth: 8 });
}

/** Between images: visible beside black and white ones. */
const gridGray = 96;

/** A number in [0, 1] as a byte; what lies outside is clipped, NaN is 0. */
export function toByte(value: number): number {
  return Math.round(Math.min(1, Math.max(0, value || 0)) * 255);
}
