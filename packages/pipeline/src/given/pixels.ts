/** Images that a person gives, as numbers: from files, from canvases, from pictures that were drawn. */
import { describeValue, DimoError, escapeText, float32, OptionError, type HostTensor } from '@dimo/core';
import { checkSize } from './image-size.js';
import { decodePixels } from './png.js';

/** Pixels row by row, as `ImageData` has them. */
export interface PixelData {
  readonly width: number;
  readonly height: number;
  /** [height, width, C] bytes, C from 1 to 4: gray, gray and opacity, RGB, RGB and opacity. */
  readonly data: Uint8Array | Uint8ClampedArray;
}

/** An image: the path of a PNG (Node), a picture, or pixels, `ImageData` among them. */
export type ImageInput = string | PixelData | { readonly image: HostTensor<'float32'> };

/** Bytes of a file; browsers have none. */
export type ReadImageFile = (path: string) => Promise<Uint8Array>;

/** Refuses what can be no image, without reading it. @throws OptionError */
export function checkImageInput(given: unknown, name: string): asserts given is ImageInput {
  if (typeof given === 'string') {
    if (given === '') throw new OptionError(`${name}: the path is empty`);
    return;
  }
  const { width, height, data, image } = (given ?? {}) as { [Key in keyof PixelData | 'image']?: unknown };
  if (image !== undefined) return checkTensor(image as HostTensor<'float32'> | null, name);
  if (!(data instanceof Uint8Array || data instanceof Uint8ClampedArray))
    throw new OptionError(
      `${name} must be the path of a PNG, a picture, or pixels { width, height, data } with data in bytes, got ${describeValue(given)}`,
    );
  checkSize(Number(width), Number(height), name);
  const channels = data.length / (Number(width) * Number(height));
  if (channels !== 1 && channels !== 2 && channels !== 3 && channels !== 4)
    throw new OptionError(
      `${name}: ${String(width)} x ${String(height)} pixels have 1 to 4 bytes each, got ${data.length} bytes in all`,
    );
}

function checkTensor(image: HostTensor<'float32'> | null, name: string): void {
  const [height = 0, width = 0, channels = 0, ...more] = Array.isArray(image?.shape) ? image.shape : [];
  if (!(image?.data instanceof Float32Array) || ![1, 2, 3, 4].includes(channels) || more.length > 0)
    throw new OptionError(`${name}: the image of a picture must be float32 [height, width, channels]`);
  checkSize(width, height, name);
  if (image.data.length !== height * width * channels || !image.data.every((value) => value >= 0 && value <= 1))
    throw new OptionError(`${name}: the image of a picture must hold ${height * width * channels} numbers in [0, 1]`);
}

/**
 * Pixels as numbers: float32 [height, width, C] in [0, 1]. What is in memory is taken before this returns.
 *
 * @param given - as `checkImageInput` has it.
 * @throws OptionError for a file that is no PNG; what `readFile` throws
 */
export async function pixelsOf(
  given: ImageInput,
  name: string,
  readFile: ReadImageFile,
): Promise<HostTensor<'float32'>> {
  if (typeof given === 'string') {
    const bytes = await readFile(given).catch((error: unknown) => {
      if (!DimoError.isInstance(error)) throw error;
      throw new OptionError(`${name}: ${error.message}`, { path: given, hint: error.hint, cause: error });
    });
    return decodePixels(bytes, `${name} ${escapeText(given, 200)}`);
  }
  if ('image' in given) return { ...given.image, data: given.image.data.slice() };
  const { width, height, data } = given;
  return float32(
    [height, width, data.length / (width * height)],
    Float32Array.from(data, (byte) => byte / 255),
  );
}
