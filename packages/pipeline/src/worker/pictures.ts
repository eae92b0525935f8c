/** Images as canvases take them. */
import { OptionError, type HostTensor } from '@dimo/core';
import { rgbaOf } from '../pictures/picture.js';
import type { Pictures } from './methods.js';

/**
 * RGBA of images.
 *
 * @param images - float32 [count, H, W, C] in [0, 1]; C is 1 (gray), 3 (RGB) or 4 (RGB and opacity).
 */
export function picturesOf({ shape, data }: HostTensor<'float32'>): Pictures {
  const [count, height, width, channels] = shape as [number, number, number, number];
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new OptionError(`images must have 1, 3 or 4 channels, got ${channels}`);
  return { count, width, height, rgba: rgbaOf(data, channels) };
}
