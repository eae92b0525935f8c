import { describe, expect, it } from 'vitest';
import { dominantColour, recoloured } from './colours.js';

/** Three quarters red, one quarter white. */
const red = Uint8Array.from({ length: 64 * 3 }, (_, i) => (i < 48 * 3 ? [220, 40, 30][i % 3]! : 255));

describe('colours', () => {
  it('finds the dominant one', () => {
    const found = dominantColour(red)!;
    expect(found.colour).toBe('red');
    expect(found.purity).toBe(1);
    expect(found.coverage).toBe(1);
    expect(dominantColour(new Uint8Array(30).fill(200))).toBeUndefined();
  });

  it('turns the hue, keeps white and lightness', () => {
    const blue = recoloured(red, dominantColour(red)!.hue, 'blue');
    expect(dominantColour(blue)!.colour).toBe('blue');
    expect([...blue.subarray(48 * 3)]).toEqual(new Array(48).fill(255));
    const lightness = (i: number, pixels: Uint8Array) =>
      Math.max(...pixels.subarray(i, i + 3)) + Math.min(...pixels.subarray(i, i + 3));
    // Three channels are rounded to whole numbers.
    expect(Math.abs(lightness(0, blue) - lightness(0, red))).toBeLessThanOrEqual(1);
  });
});
