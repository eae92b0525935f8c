/** One picture at its own size, or the reason why there is none. */
import { OptionError } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { blue, expectColour, grayPng, halves, red } from '../../../../tests/support/pictures.js';
import { readPicture } from './read-picture.js';

describe('a picture', () => {
  it('is turned as its file says, with opacity left out', async () => {
    const turned = await halves(red, blue, 40, 20).jpeg({ quality: 95 }).withMetadata({ orientation: 6 }).toBuffer();
    const { width, height, data } = await readPicture(turned, 'turned.jpg');
    expect([width, height, data.length]).toEqual([20, 40, 20 * 40 * 3]);
    expectColour([...data.subarray(0, 3)], red);
    expectColour([...data.subarray(-3)], blue);
    const clear = await halves(red, blue, 8, 8).ensureAlpha(0.25).webp({ lossless: true, exact: true }).toBuffer();
    const picture = await readPicture(clear, 'clear.webp');
    expect([...picture.data.subarray(0, 3)]).toEqual([...red]);
  });

  it('is RGB whatever it is in its file', async () => {
    const gray = await readPicture(grayPng(2, 1, Uint8Array.of(0, 10, 200)), 'gray.png');
    expect([...gray.data]).toEqual([10, 10, 10, 200, 200, 200]);
    const cmyk = await halves(red, blue, 16, 16).toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer();
    const picture = await readPicture(cmyk, 'cmyk.jpg');
    expect(picture.data.length).toBe(16 * 16 * 3);
  });

  it('that cannot be read is refused by its name', async () => {
    const cut = (await halves(red, blue, 200, 200).jpeg().toBuffer()).subarray(0, -300);
    await expect(readPicture(cut, 'cut.jpg')).rejects.toThrow(OptionError);
    await expect(readPicture(cut, 'cut.jpg')).rejects.toThrow(/^cut\.jpg: cannot be decoded/);
    const large = grayPng(60_000, 60_000, new Uint8Array(1000));
    await expect(readPicture(large, 'large.png')).rejects.toThrow(/60000 x 60000 pixels are more than/);
    const small = await halves(red, blue, 4, 4).png().toBuffer();
    await expect(readPicture(small, 'x', { maximumPixels: 15 })).rejects.toThrow(/more than the 15/);
    await expect(readPicture(small, 'x', { maximumPixels: 0 })).rejects.toThrow(/maximumPixels/);
  });
});
