import { float32, OptionError, ShapeError } from '@dimo/core';
import { decode } from 'fast-png';
import { describe, expect, it } from 'vitest';
import { imageGrid } from './image-grid.js';

describe('imageGrid', () => {
  it('puts images row by row with a gap, clipped to bytes', () => {
    // Three 1 x 2 images in two columns, gap 1: row one "0 255 | 128 0", then a gap row, then "255 0" and an empty place.
    const images = float32([3, 1, 2, 1], [-1, 2, 0.5, NaN, 1, 0]);
    const png = decode(imageGrid(images, 2, { gap: 1 }));
    expect([png.width, png.height, png.channels]).toEqual([5, 3, 1]);
    const gray = 96;
    expect([...png.data]).toEqual([0, 255, gray, 128, 0, ...new Array<number>(5).fill(gray), 255, 0, gray, gray, gray]);
  });

  it('scales pixels and keeps colours', () => {
    const png = decode(imageGrid(float32([1, 1, 1, 3], [1, 0, 0.2]), 4, { scale: 2 }));
    expect([png.width, png.height, png.channels]).toEqual([2, 2, 3]);
    expect([...png.data.slice(0, 6)]).toEqual([255, 0, 51, 255, 0, 51]);
  });

  it('keeps opacity, and is opaque between the images', () => {
    // Two images of one pixel: half and fully transparent; a gap of one pixel.
    const { data, channels } = decode(imageGrid(float32([2, 1, 1, 4], [1, 0, 0, 0.5, 0, 1, 0, 0]), 2, { gap: 1 }));
    expect([channels, [...data]]).toEqual([4, [255, 0, 0, 128, 96, 96, 96, 255, 0, 255, 0, 0]]);
    expect(decode(imageGrid(float32([1, 1, 1, 2], [1, 0.2]), 1)).channels).toBe(2);
  });

  it('refuses what is no picture', () => {
    expect(() => imageGrid(float32([0, 2, 2, 1]), 2)).toThrow(ShapeError);
    expect(() => imageGrid(float32([1, 2, 2, 5]), 2)).toThrow(ShapeError);
    expect(() => imageGrid(float32([1, 2, 2, 1]), 0)).toThrow(OptionError);
    expect(() => imageGrid(float32([2, 4, 4]), 2)).toThrow(ShapeError);
    expect(() => imageGrid({ dtype: 'float32', shape: [2, 4, 4, 1], data: new Float32Array(3) }, 2)).toThrow(
      ShapeError,
    );
    const images = float32([2, 4, 4, 1]);
    for (const columns of [0, -1, NaN, 1.5]) expect(() => imageGrid(images, columns)).toThrow(OptionError);
    for (const gap of [-1, NaN, 1.5, 1e9]) expect(() => imageGrid(images, 2, { gap })).toThrow(OptionError);
    for (const scale of [0, NaN, 1.5, 17]) expect(() => imageGrid(images, 2, { scale })).toThrow(OptionError);
  });
});
