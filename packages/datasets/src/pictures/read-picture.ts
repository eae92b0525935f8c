/** One picture as a file has it: PNG, JPEG, WebP, or the first frame of a GIF. */
import { OptionError } from '@dimo/core';
import { BadPicture, decodeWhole, loadSharp, pictureFacts } from './decode.js';
import { resolvePictures, type PictureOptions } from './options.js';

/** Limits of a picture. */
export type ReadPictureOptions = Pick<PictureOptions, 'maximumPixels' | 'secondsPerPicture'>;

/**
 * Pixels of a picture at its own size, uint8 [height, width, 3] in sRGB: turned as its file says, opacity left out.
 *
 * @param bytes - those of the file.
 * @param name - of the picture, for errors.
 * @throws OptionError if it is of another format, damaged, cut, larger than the limits, or takes longer than they allow.
 * @throws DimoError with code `io` if sharp is not installed.
 */
export async function readPicture(
  bytes: Uint8Array,
  name: string,
  options: ReadPictureOptions = {},
): Promise<{ readonly height: number; readonly width: number; readonly data: Uint8Array }> {
  const limits = resolvePictures(options);
  const sharp = await loadSharp();
  try {
    await pictureFacts(sharp, bytes, limits);
    return await decodeWhole(sharp, bytes, limits);
  } catch (cause) {
    if (cause instanceof BadPicture) throw new OptionError(`${name}: ${cause.message}`, { cause });
    throw cause;
  }
}
