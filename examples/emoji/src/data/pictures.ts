/** Pictures of emoji as small RGB images on white. */
import { DimoError } from '@dimo/core';
import { decode } from 'fast-png';
import { readFile } from 'node:fs/promises';

/** Side of the images, pixels. */
export const imageSide = 32;

/** Bytes of one image: side x side x RGB. */
export const imageBytes = imageSide * imageSide * 3;

/** Side of the pictures in the package. */
const sourceSide = 64;

/**
 * Reads a picture of 64 x 64 RGBA pixels and halves it: mean colour of 2 x 2 pixels over white.
 *
 * @returns uint8 [32, 32, 3].
 * @throws DimoError with code `io` if the file is absent or has another form.
 */
export async function readPicture(path: string): Promise<Uint8Array> {
  const wrong = (message: string, cause?: unknown) =>
    new DimoError('io', `emoji: ${message}`, {
      path,
      cause,
      hint: 'install the package again: npm install emoji-datasource-google@16.0.0',
    });
  let picture: ReturnType<typeof decode>;
  try {
    picture = decode(await readFile(path));
  } catch (cause) {
    throw wrong('cannot read the picture', cause);
  }
  const { width, height, data, palette, channels } = picture;
  if (width !== sourceSide || height !== sourceSide)
    throw wrong(`expected ${sourceSide} x ${sourceSide} pixels, got ${width} x ${height}`);
  if (picture.depth !== 8 && !palette) throw wrong(`expected 8 bits, got ${picture.depth}`);
  const rgba = (pixel: number): readonly number[] => {
    const at = (channel: number) => data[channels * pixel + channel]!;
    const colour = palette ? palette[at(0)]! : channels < 3 ? [at(0), at(0), at(0)] : [at(0), at(1), at(2)];
    const alpha = palette ? (palette[at(0)]![3] ?? 255) : channels % 2 === 0 ? at(channels - 1) : 255;
    return [colour[0]!, colour[1]!, colour[2]!, alpha];
  };
  const image = new Uint8Array(imageBytes);
  for (let y = 0; y < imageSide; y++)
    for (let x = 0; x < imageSide; x++) {
      const sum = [0, 0, 0];
      for (const pixel of [0, 1, sourceSide, sourceSide + 1]) {
        const [r, g, b, alpha] = rgba(2 * y * sourceSide + 2 * x + pixel) as [number, number, number, number];
        [r, g, b].forEach((value, c) => (sum[c]! += 255 + ((value - 255) * alpha) / 255));
      }
      for (let c = 0; c < 3; c++) image[(y * imageSide + x) * 3 + c] = Math.round(sum[c]! / 4);
    }
  return image;
}

/** The image seen in a mirror. */
export function mirrored(image: Uint8Array): Uint8Array {
  const result = new Uint8Array(image.length);
  for (let y = 0; y < imageSide; y++)
    for (let x = 0; x < imageSide; x++)
      for (let c = 0; c < 3; c++)
        result[(y * imageSide + x) * 3 + c] = image[(y * imageSide + imageSide - 1 - x) * 3 + c]!;
  return result;
}
