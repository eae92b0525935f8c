/** Pixels of a dataset: in memory, or read as they are needed. */
import { OptionError, ShapeError } from '../errors.js';
import { float32, sizeOf, type HostTensor } from '../tensors/tensors.js';
import type { DatasetSplit } from './dataset.js';

/**
 * uint8 pixels of some images, [rows.length, H, W, C].
 *
 * @param imageShape - [height, width, channels].
 * @throws OptionError if a row is outside of the split; ShapeError if the pixels are not those of the images.
 */
export async function readPixels(
  imageShape: readonly [height: number, width: number, channels: number],
  split: Pick<DatasetSplit, 'count' | 'pixels'>,
  rows: ArrayLike<number>,
): Promise<Uint8Array> {
  const { count, pixels } = split;
  checkPixels(imageShape, split);
  for (let i = 0; i < rows.length; i++)
    if (!Number.isInteger(rows[i]) || rows[i]! < 0 || rows[i]! >= count)
      throw new OptionError(`image index must be an integer from 0 to ${count - 1}, got ${rows[i]}`);
  const size = sizeOf(imageShape);
  if (!(pixels instanceof Uint8Array)) {
    const read = await pixels.read(rows);
    if (read.length === rows.length * size) return read;
    throw new ShapeError(
      `${rows.length} images of [${imageShape.join(', ')}] have ${rows.length * size} bytes, their source gave ${read.length}`,
    );
  }
  const data = new Uint8Array(rows.length * size);
  for (let i = 0; i < rows.length; i++) data.set(pixels.subarray(rows[i]! * size, (rows[i]! + 1) * size), i * size);
  return data;
}

/**
 * The same as float32 in [0, 1] (byte / 255).
 *
 * @throws as `readPixels`.
 */
export async function readImages(
  imageShape: readonly [height: number, width: number, channels: number],
  split: Pick<DatasetSplit, 'count' | 'pixels'>,
  rows: ArrayLike<number>,
): Promise<HostTensor<'float32'>> {
  const bytes = await readPixels(imageShape, split, rows);
  const data = new Float32Array(bytes.length);
  for (let i = 0; i < data.length; i++) data[i] = bytes[i]! / 255;
  return float32([rows.length, ...imageShape], data);
}

/** @throws ShapeError if pixels in memory are not those of so many images; a source says it when it is read. */
export function checkPixels(
  imageShape: readonly [height: number, width: number, channels: number],
  { count, pixels }: Pick<DatasetSplit, 'count' | 'pixels'>,
): void {
  const expected = count * sizeOf(imageShape);
  if (pixels instanceof Uint8Array && pixels.length !== expected)
    throw new ShapeError(
      `a split of ${count} images of [${imageShape.join(', ')}] needs ${expected} bytes, got ${pixels.length}`,
    );
}
