/** Sizes of images that are worked on. */
import { OptionError } from '@dimo/core';

/** Pixels along a side, and in all. */
const maximumSide = 16_384;
const maximumPixels = 2 ** 26;

/** @throws OptionError for a size that no image has, or that is too large to be worked on */
export function checkSize(width: number, height: number, name: string): void {
  const isSide = (side: number): boolean => Number.isInteger(side) && side >= 1 && side <= maximumSide;
  if (!isSide(width) || !isSide(height) || width * height > maximumPixels)
    throw new OptionError(
      `${name}: width and height must be integers in [1, ${maximumSide}] with at most ${maximumPixels} pixels in all, got ${width} x ${height}`,
    );
}
