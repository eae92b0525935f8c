/** Grids of generated images, sized for people. */
import type { HostTensor } from '@dimo/core';
import { imageGrid } from '@dimo/pipeline';

/** An encoded image. */
export interface EncodedImage {
  readonly png: Uint8Array;
  readonly width: number;
  readonly height: number;
}

/** Images smaller than this are enlarged by a whole factor, without smoothing. */
const smallestSide = 56;

/**
 * A PNG with the images row by row, small ones enlarged.
 *
 * @param images - float32 [count, H, W, C] in [0, 1].
 */
export function encodeGrid(images: HostTensor<'float32'>, columns: number): EncodedImage {
  const side = Math.max(images.shape[1] ?? 1, images.shape[2] ?? 1);
  const png = imageGrid(images, columns, { scale: Math.min(16, Math.max(1, Math.ceil(smallestSide / side))) });
  // Width and height stand in the PNG header.
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  return { png, width: view.getUint32(16), height: view.getUint32(20) };
}

/** One image, float32 [H, W, C] in [0, 1], as a PNG of its own size. */
export function encodeImage(image: HostTensor<'float32'>): Uint8Array {
  return imageGrid({ ...image, shape: [1, ...image.shape] }, 1, { gap: 0 });
}

/** Columns of a grid: as many as there are classes where that makes full rows, else about a square. */
export function gridColumns(count: number, numClasses: number): number {
  if (numClasses > 1 && numClasses <= 32 && count % numClasses === 0) return numClasses;
  return Math.ceil(Math.sqrt(count));
}
