/** Pictures of every kind become the images that people see; folders become classes. */
import { DimoError, OptionError } from '@dimo/core';
import { rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { at, blue, expectColour, halves, imagesOf, pictureFolders, red } from '../../../../tests/support/pictures.js';
import { openPictureFolder, type OpenPictureFolderOptions } from './picture-folder.js';

const { now, put } = pictureFolders();
const open = (options: OpenPictureFolderOptions = {}) =>
  openPictureFolder(now.folder, { cacheFolder: now.cacheFolder, testFraction: 0, size: 16, ...options });

describe('pictures of every kind', () => {
  const kinds: Record<string, () => Promise<Buffer>> = {
    'png 8 bits.png': () => halves(red, blue).png().toBuffer(),
    'png 16 bits.png': () => halves(red, blue).toColourspace('rgb16').png().toBuffer(),
    'png palette.PNG': () => halves(red, blue).png({ palette: true }).toBuffer(),
    'jpeg.jpg': () => halves(red, blue).jpeg({ quality: 95 }).toBuffer(),
    'webp.webp': () => halves(red, blue).webp({ quality: 95 }).toBuffer(),
    'gif.gif': () => halves(red, blue).gif().toBuffer(),
    'large.jpeg': () => halves(red, blue, 640, 640).jpeg({ quality: 95 }).toBuffer(),
    'one more.png': () => halves(red, blue, 5, 5).png().toBuffer(),
  };
  it.each(Object.keys(kinds))('%s', async (name) => {
    await put(name, await kinds[name]!());
    const dataset = await open();
    expect(dataset.imageShape).toEqual([16, 16, 3]);
    const [image] = await imagesOf(dataset);
    expectColour(at(image!.pixels, 8, 2), red);
    expectColour(at(image!.pixels, 8, 13), blue);
  });

  it('CMYK, in the colours that it has on paper', async () => {
    await put('cmyk.jpg', await halves(red, blue).toColourspace('cmyk').jpeg({ quality: 95 }).toBuffer());
    expect((await sharp(join(now.folder, 'cmyk.jpg')).metadata()).space).toBe('cmyk');
    const [image] = await imagesOf(await open());
    // Inks have no such red and blue: near, and far from each other.
    const [left, right] = [at(image!.pixels, 8, 2), at(image!.pixels, 8, 13)];
    expect(left[0]).toBeGreaterThan(left[2]! + 100);
    expect(right[2]).toBeGreaterThan(right[0]! + 60);
  });

  // Where the left upper corner of the picture as it is stored belongs, by the standard's eight values.
  it.each([
    [1, 'top left'],
    [2, 'top right'],
    [3, 'bottom right'],
    [4, 'bottom left'],
    [5, 'top left'],
    [6, 'top right'],
    [7, 'bottom right'],
    [8, 'bottom left'],
  ])('orientation %d turns the corner to the %s', async (orientation, corner) => {
    const width = 48;
    const height = 32;
    const data = new Uint8Array(width * height * 3).fill(255);
    for (let row = 0; row < height / 2; row++)
      for (let column = 0; column < width / 2; column++) data.set(blue, (row * width + column) * 3);
    await put(
      'turned.jpg',
      await sharp(data, { raw: { width, height, channels: 3 } })
        .jpeg({ quality: 95 })
        .withMetadata({ orientation })
        .toBuffer(),
    );
    const dataset = await open({ fit: 'squash' });
    expect(dataset.medianSide).toBe(32);
    const [image] = await imagesOf(dataset);
    const [vertical, horizontal] = corner.split(' ');
    expectColour(at(image!.pixels, vertical === 'top' ? 2 : 13, horizontal === 'left' ? 2 : 13), blue);
    expectColour(at(image!.pixels, vertical === 'top' ? 13 : 2, horizontal === 'left' ? 13 : 2), [255, 255, 255]);
  });

  it.each(['gif', 'webp'] as const)('the first frame of an animated %s', async (format) => {
    const frames = await Promise.all([halves(red, red), halves(blue, blue)].map((frame) => frame.raw().toBuffer()));
    const animated = sharp(Buffer.concat(frames), { raw: { width: 32, height: 64, channels: 3, pageHeight: 32 } });
    await put(`animated.${format}`, await animated.toFormat(format, { loop: 0, delay: [100, 100] }).toBuffer());
    expect((await sharp(join(now.folder, `animated.${format}`)).metadata()).pages).toBe(2);
    const [image] = await imagesOf(await open());
    expectColour(at(image!.pixels, 8, 8), red);
  });

  it('transparent ones, on the background that is named', async () => {
    await put(
      'clear.png',
      await sharp({ create: { width: 20, height: 20, channels: 4, background: { r: 9, g: 9, b: 9, alpha: 0 } } })
        .png()
        .toBuffer(),
    );
    const colours = await Promise.all(
      [{}, { background: '#c81e14' }].map(async (options) =>
        at((await imagesOf(await open({ channels: 'rgb', ...options })))[0]!.pixels, 8, 8),
      ),
    );
    expect(colours).toEqual([[255, 255, 255], [...red]]);
  });

  it('1 x 1, and one of 30,000 x 2', async () => {
    await put('dot.png', await halves(red, red, 1, 1).png().toBuffer());
    await put('line.png', await halves(blue, blue, 30_000, 2).png().toBuffer());
    const images = await imagesOf(await open());
    const colours = images.map(({ pixels }) => at(pixels, 15, 15).join()).sort();
    expect(colours).toEqual([[...blue].join(), [...red].join()]);
  });

  it('gray ones have one channel where all are gray, and three among coloured ones', async () => {
    const gray = (value: number) => sharp(Buffer.alloc(1024, value), { raw: { width: 32, height: 32, channels: 1 } });
    await put('8.png', await gray(100).png().toBuffer());
    await put('16.png', await gray(100).toColourspace('grey16').png().toBuffer());
    await put('rgb.png', await halves([100, 100, 100], [100, 100, 100]).png().toBuffer());
    const dataset = await open();
    expect(dataset.imageShape).toEqual([16, 16, 1]);
    for (const { pixels } of await imagesOf(dataset)) expect(new Set(pixels)).toEqual(new Set([100]));
    await put('red.png', await halves(red, red).png().toBuffer());
    expect((await open()).imageShape).toEqual([16, 16, 3]);
    expect((await open({ channels: 'gray' })).imageShape).toEqual([16, 16, 1]);
  });
});

describe('the size of images', () => {
  it('follows the pictures: a multiple of 16 that half of them have, at most 64', async () => {
    const sizeFor = async (...sides: number[]) => {
      await rm(now.folder, { recursive: true });
      for (const [i, side] of sides.entries())
        await put(
          `${i}.png`,
          await halves(red, blue, side + 9, side)
            .png()
            .toBuffer(),
        );
      return (await openPictureFolder(now.folder, { cacheFolder: now.cacheFolder })).imageShape;
    };
    expect(await sizeFor(64)).toEqual([64, 64, 3]);
    expect(await sizeFor(20, 50, 400)).toEqual([48, 48, 3]);
    expect(await sizeFor(900)).toEqual([64, 64, 3]);
    expect(await sizeFor(3)).toEqual([16, 16, 3]);
  });

  it('and what becomes of wide pictures: the middle, all of it, or bars', async () => {
    // Red, blue, blue, red.
    const data = Uint8Array.from(
      { length: 64 * 16 * 3 },
      (_, i) => (Math.abs((Math.floor(i / 3) % 64) - 31.5) < 16 ? blue : red)[i % 3]!,
    );
    await put(
      'wide.png',
      await sharp(data, { raw: { width: 64, height: 16, channels: 3 } })
        .png()
        .toBuffer(),
    );
    const image = async (fit: 'center-crop' | 'squash' | 'pad') => (await imagesOf(await open({ fit })))[0]!.pixels;
    expectColour(at(await image('center-crop'), 8, 1), blue);
    expectColour(at(await image('squash'), 8, 1), red);
    expectColour(at(await image('squash'), 8, 8), blue);
    const padded = await image('pad');
    expectColour(at(padded, 1, 8), [255, 255, 255]);
    expectColour(at(padded, 8, 8), blue);
  });
});

describe('classes', () => {
  it('are the subfolders, however deep, and hidden files and other files are none of them', async () => {
    await put('Äpfel/a.png', await halves(red, red).png().toBuffer());
    await put('birnen/tief/b.png', await halves(blue, blue).png().toBuffer());
    await put('leer/notes.txt', Buffer.from('x'));
    await put('.DS_Store', Buffer.from('x'));
    await put('.git/c.png', Buffer.from('x'));
    await put('birnen/.hidden.png', Buffer.from('x'));
    const dataset = await open();
    expect(dataset.classNames).toEqual(['birnen', 'Äpfel']);
    expect(dataset.train.count).toBe(2);
    for (const { label, pixels } of await imagesOf(dataset))
      expectColour(at(pixels, 8, 8), label === 'birnen' ? blue : red);
  });

  it('are one without subfolders, and where there is one', async () => {
    await put('a.png', await halves(red, red).png().toBuffer());
    expect((await open()).classNames).toEqual(['pictures']);
    await rm(now.folder, { recursive: true });
    await put('only/a.png', await halves(red, red).png().toBuffer());
    expect((await open()).classNames).toEqual(['only']);
  });

  it('follow links, but not in circles', async () => {
    await put('a/a.png', await halves(red, red).png().toBuffer());
    await symlink('..', join(now.folder, 'a/up'));
    await symlink('self', join(now.folder, 'a/self'));
    await symlink('nowhere', join(now.folder, 'a/gone.png'));
    await symlink('a', join(now.folder, 'b'));
    const dataset = await open();
    expect(dataset.classNames).toEqual(['a', 'b']);
    expect(dataset.train.count).toBe(2);
  });

  it.each<[string, string[], RegExp]>([
    ['an empty folder', [], /holds no pictures/],
    ['a folder without pictures', ['a.txt'], /holds no pictures, only 1 other files/],
    ['pictures beside classes', ['a.png', 'b/c.png'], /a\.png first\) are beside the folders b/],
    ['classes that differ by case', ['Cat/a.png', 'cat/a.png'], /Cat and cat differ by the case/],
    ['classes that differ by the form of letters', ['\u00e9/a.png', 'e\u0301/a.png'], /differ by the case or the form/],
    ['parts of a dataset', ['train/a.png', 'test/a.png'], /parts of a dataset, not classes/],
  ])('refuses %s', async (_name, names, message) => {
    const picture = await halves(red, blue).png().toBuffer();
    for (const name of names) await put(name, picture);
    const error: unknown = await open().catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toMatch(message);
  });

  it('says that there is no folder', async () => {
    const error: unknown = await openPictureFolder(join(now.place, 'absent')).catch((reason: unknown) => reason);
    expect(DimoError.isInstance(error) && [error.code, /ENOENT/.test(error.message)]).toEqual(['io', true]);
  });
});
