/** Images as canvases take them. */
import { OptionError, type HostTensor } from '@dimo/core';
import type { Pictures } from './methods.js';

/**
 * RGBA of images.
 *
 * @param images - float32 [count, H, W, C] in [0, 1]; C is 1 (grey), 3 (RGB) or 4 (RGBA).
 */
export function picturesOf({ shape, data }: HostTensor<'float32'>): Pictures {
  const [count, height, width, channels] = shape as [number, number, number, number];
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new OptionError(`images must have 1, 3 or 4 channels, got ${channels}`);
  const rgba = new Uint8ClampedArray(count * height * width * 4);
  for (let from = 0, to = 0; to < rgba.length; from += channels, to += 4) {
    // Clamped arrays round.
    rgba[to] = 255 * data[from]!;
    rgba[to + 1] = 255 * data[channels === 1 ? from : from + 1]!;
    rgba[to + 2] = 255 * data[channels === 1 ? from : from + 2]!;
    rgba[to + 3] = channels === 4 ? 255 * data[from + 3]! : 255;
  }
  return { count, width, height, rgba };
}
