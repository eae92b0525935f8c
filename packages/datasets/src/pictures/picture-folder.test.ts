/** Pictures of every kind become the images that people see, and what is none is refused by its name. */
import { DimoError, OptionError, readPixels } from '@dimo/core';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { crc32, deflateSync } from 'node:zlib';
import { openPictureFolder, type OpenPictureFolderOptions } from './picture-folder.js';

let place: string;
let folder: string;
let cacheFolder: string;
beforeEach(async () => {
  place = await mkdtemp(join(tmpdir(), 'dimo-pictures-'));
  folder = join(place, 'pictures');
  cacheFolder = join(place, 'cache');
  await mkdir(folder);
});
afterEach(() => rm(place, { recursive: true, force: true }));

async function put(name: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), bytes);
}

type Colour = readonly [red: number, green: number, blue: number];
const red: Colour = [200, 30, 20];
const blue: Colour = [20, 40, 210];

/** Left half of one colour, right half of another. */
function halves(left: Colour, right: Colour, width = 32, height = 32): Sharp {
  const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => {
    const column = Math.floor(i / 3) % width;
    return (column < width / 2 ? left : right)[i % 3]!;
  });
  return sharp(data, { raw: { width, height, channels: 3 } });
}

const open = (options: OpenPictureFolderOptions = {}) =>
  openPictureFolder(folder, { cacheFolder, testFraction: 0, size: 16, ...options });

/** All training images with the names of their classes. */
async function imagesOf(dataset: Awaited<ReturnType<typeof open>>) {
  const { imageShape, train, classNames } = dataset;
  const all = await readPixels(
    imageShape,
    train,
    Int32Array.from({ length: train.count }, (_, i) => i),
  );
  const size = all.length / train.count;
  return Array.from({ length: train.count }, (_, i) => ({
    label: classNames[train.labels.data[i]!]!,
    pixels: all.subarray(i * size, (i + 1) * size),
  }));
}

/** Colour of an image of 16 x 16 at a place. */
const at = (pixels: Uint8Array, row: number, column: number) => [
  ...pixels.subarray((row * 16 + column) * 3, (row * 16 + column) * 3 + 3),
];

/** Lossy formats and colour profiles change colours a little. */
function expectColour(found: number[], wanted: Colour, tolerance = 12): void {
  expect(found.length).toBe(3);
  found.forEach((value, i) =>
    expect(Math.abs(value - wanted[i]!), `${found.join()} for ${wanted.join()}`).toBeLessThanOrEqual(tolerance),
  );
}

/** A PNG by hand: 8 bits of gray, with sizes that need not be true. */
function grayPng(width: number, height: number, raw: Uint8Array): Buffer {
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length, 0);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 0, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(raw)),
    chunk('IEND', new Uint8Array()),
  ]);
}

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
    expect((await sharp(join(folder, 'cmyk.jpg')).metadata()).space).toBe('cmyk');
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
    expect((await sharp(join(folder, `animated.${format}`)).metadata()).pages).toBe(2);
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
        at((await imagesOf(await open({ channels: 3, ...options })))[0]!.pixels, 8, 8),
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
    expect((await open({ channels: 1 })).imageShape).toEqual([16, 16, 1]);
  });
});

describe('the size of images', () => {
  it('follows the pictures: a multiple of 16 that half of them have, at most 64', async () => {
    const sizeFor = async (...sides: number[]) => {
      await rm(folder, { recursive: true });
      for (const [i, side] of sides.entries())
        await put(
          `${i}.png`,
          await halves(red, blue, side + 9, side)
            .png()
            .toBuffer(),
        );
      return (await openPictureFolder(folder, { cacheFolder })).imageShape;
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
    await rm(folder, { recursive: true });
    await put('only/a.png', await halves(red, red).png().toBuffer());
    expect((await open()).classNames).toEqual(['only']);
  });

  it('follow links, but not in circles', async () => {
    await put('a/a.png', await halves(red, red).png().toBuffer());
    await symlink('..', join(folder, 'a/up'));
    await symlink('self', join(folder, 'a/self'));
    await symlink('nowhere', join(folder, 'a/gone.png'));
    await symlink('a', join(folder, 'b'));
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
    const error: unknown = await openPictureFolder(join(place, 'absent')).catch((reason: unknown) => reason);
    expect(DimoError.isInstance(error) && [error.code, /ENOENT/.test(error.message)]).toEqual(['io', true]);
  });
});

describe('bad pictures', () => {
  const bad: Record<string, [bytes: () => Promise<Uint8Array>, reason: RegExp, options?: OpenPictureFolderOptions]> = {
    'cut.png': [
      async () => (await halves(red, blue, 200, 200).png({ compressionLevel: 0 }).toBuffer()).subarray(0, 2000),
      /cannot be decoded/,
    ],
    'cut.jpg': [
      async () => (await halves(red, blue, 200, 200).jpeg().toBuffer()).subarray(0, -300),
      /cannot be decoded/,
    ],
    'cut.webp': [
      async () => (await halves(red, blue, 200, 200).webp().toBuffer()).subarray(0, 100),
      /cannot be decoded/,
    ],
    'cut.gif': [async () => (await halves(red, blue, 200, 200).gif().toBuffer()).subarray(0, 60), /cannot be decoded/],
    'head.png': [async () => (await halves(red, blue).png().toBuffer()).subarray(0, 8), /cannot be decoded/],
    'empty.png': [async () => new Uint8Array(), /the file is empty/],
    'text.png': [
      async () => Buffer.from('hello \x1b[31m'),
      /no PNG, JPEG, WebP or GIF: the file begins with "hello \\u001b\[/,
    ],
    'drawing.png': [async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), /no PNG, JPEG, WebP or GIF/],
    'bomb.png': [
      async () => grayPng(60_000, 60_000, new Uint8Array(1000)),
      /60000 x 60000 pixels are more than the 100000000/,
    ],
    'overflow.png': [
      async () => grayPng(2 ** 31 - 1, 2 ** 31 - 1, new Uint8Array(10)),
      /pixels are more than|cannot be decoded/,
    ],
    'lies.png': [async () => grayPng(9000, 9000, new Uint8Array(1000)), /cannot be decoded/],
    'limit.png': [
      () => halves(red, blue, 40, 40).png().toBuffer(),
      /40 x 40 pixels are more than the 1599/,
      { maximumPixels: 1599 },
    ],
    'heavy.png': [
      () => halves(red, blue, 40, 40).png().toBuffer(),
      /bytes are more than the 50 of/,
      { maximumBytes: 50 },
    ],
  };
  it.each(Object.keys(bad))('%s is refused by its name', async (name) => {
    const [bytes, reason, options = {}] = bad[name]!;
    await put(name, await bytes());
    const error: unknown = await open(options).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(OptionError);
    expect((error as Error).message).toMatch(reason);
    expect((error as Error).message).toContain(name);
    // Nothing half done stays.
    expect(existsSync(cacheFolder) ? (await readdir(join(cacheFolder, 'pictures'))).length : 0).toBe(0);
  });

  it('are named a few at once, with what is in their names escaped', async () => {
    await put('good.png', await halves(red, red).png().toBuffer());
    for (let i = 0; i < 8; i++) await put(`bad \x1b[31m${i}.png`, Buffer.from('x'));
    const error: unknown = await open().catch((reason: unknown) => reason);
    const { message } = error as Error;
    expect(message).toContain('bad \\x1b[31m0.png');
    expect(message).toContain('bad \\x1b[31m4.png');
    expect(message).toContain('and 3 more');
    // eslint-disable-next-line no-control-regex
    expect(message).not.toMatch(/\x1b/);
  });

  it('are skipped and counted where that is asked for; never all of them', async () => {
    await put('a/good.png', await halves(red, red).png().toBuffer());
    await put('a/bad.png', Buffer.from('x'));
    await put('b/good.png', await halves(blue, blue).png().toBuffer());
    for (const _ of ['made', 'from the cache']) {
      const dataset = await open({ onBadPicture: 'skip' });
      expect(dataset.bad).toEqual([
        { name: 'a/bad.png', reason: expect.stringContaining('begins with "x"') as string },
      ]);
      expect(dataset.train.count).toBe(2);
      for (const { label, pixels } of await imagesOf(dataset))
        expectColour(at(pixels, 8, 8), label === 'a' ? red : blue);
    }
    await rm(join(folder, 'a/good.png'));
    await rm(join(folder, 'b'), { recursive: true });
    await expect(open({ onBadPicture: 'skip' })).rejects.toThrow(/a\/bad\.png/);
  });
});

describe('order, parts and the cache', () => {
  /** Pictures that are told apart by their colour. */
  const fill = async (count: number) => {
    for (let i = 0; i < count; i++)
      await put(
        `${i % 2 ? 'odd' : 'even'}/${i}.png`,
        await halves([i, i, 255 - i], [i, i, 0], 16, 16)
          .png()
          .toBuffer(),
      );
  };
  const idsOf = async (options: OpenPictureFolderOptions) => {
    const dataset = await open(options);
    const ids = async (part: 'train' | 'test') => {
      const split = dataset[part];
      const all = await readPixels(
        dataset.imageShape,
        split,
        Int32Array.from({ length: split.count }, (_, i) => i),
      );
      return Array.from({ length: split.count }, (_, i) => all[i * 768]!);
    };
    return { dataset, train: await ids('train'), test: await ids('test') };
  };

  it('are those of the seed, labels with their pictures, and every picture is in one part', async () => {
    await fill(60);
    const first = await idsOf({ testFraction: 0.3 });
    expect([...first.train, ...first.test].sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, i) => i));
    expect(first.test.length).toBeGreaterThan(8);
    expect(first.test.length).toBeLessThan(30);
    first.train.forEach((id, row) =>
      expect(first.dataset.classNames[first.dataset.train.labels.data[row]!]).toBe(id % 2 ? 'odd' : 'even'),
    );
    expect(first.train).not.toEqual([...first.train].sort((a, b) => a - b));
    const again = await idsOf({ testFraction: 0.3 });
    expect([again.train, again.test, again.dataset.train.pixels.key]).toEqual([
      first.train,
      first.test,
      first.dataset.train.pixels.key,
    ]);
    const other = await idsOf({ testFraction: 0.3, seed: 1 });
    expect(new Set(other.test)).not.toEqual(new Set(first.test));
    expect(other.dataset.train.pixels.key).not.toBe(first.dataset.train.pixels.key);
    // More pictures leave those of before in their parts.
    for (let i = 60; i < 80; i++)
      await put(`even/${i}.png`, await halves([i, i, 0], [0, 0, 0], 16, 16).png().toBuffer());
    const more = await idsOf({ testFraction: 0.3 });
    for (const id of first.test) expect(more.test).toContain(id);
    for (const id of first.train) expect(more.train).toContain(id);
  });

  it('flips are further training images, mirrored, with the same labels', async () => {
    await put('a/a.png', await halves(red, blue).png().toBuffer());
    await put('b/b.png', await halves(blue, red).png().toBuffer());
    const dataset = await open({ flips: true });
    const images = await imagesOf(dataset);
    expect(images.map(({ label }) => label).sort()).toEqual(['a', 'a', 'b', 'b']);
    for (const label of ['a', 'b']) {
      const [one, two] = images.filter((image) => image.label === label);
      expect(at(one!.pixels, 3, 2)).toEqual(at(two!.pixels, 3, 13));
      expect(at(one!.pixels, 3, 2)).not.toEqual(at(two!.pixels, 3, 2));
    }
    expect(dataset.train.pixels.key).not.toBe((await open()).train.pixels.key);
  });

  it('decodes once, and again when a picture, the options or the cache changed', async () => {
    await fill(6);
    let decoded = 0;
    const count = async (options: OpenPictureFolderOptions = {}) => {
      decoded = 0;
      const dataset = await open({ onProgress: (done) => void (decoded = done), ...options });
      return { decoded, dataset };
    };
    const first = await count();
    expect(first.decoded).toBe(6);
    expect((await count()).decoded).toBe(0);
    expect((await count({ seed: 4, flips: true })).decoded).toBe(0);
    expect((await count({ fit: 'squash' })).decoded).toBe(6);
    await put('even/0.png', await halves(red, red, 16, 16).png().toBuffer());
    await utimes(join(folder, 'even/0.png'), 5, 5);
    const changed = await count();
    expect(changed.decoded).toBe(6);
    expect(changed.dataset.train.pixels.key).not.toBe(first.dataset.train.pixels.key);
    // A cache that was cut is made anew; one that is cut while it is read is an error.
    const files = (await readdir(join(cacheFolder, 'pictures'))).filter((name) => !name.endsWith('.json'));
    expect(files).toHaveLength(3);
    for (const name of files) await truncate(join(cacheFolder, 'pictures', name), 10);
    await expect(imagesOf(changed.dataset)).rejects.toThrow(/removed or cut while it was in use/);
    expect((await count()).decoded).toBe(6);
  });

  it('a stop request ends decoding without a trace', async () => {
    await fill(3);
    await expect(open({ signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(await readdir(join(cacheFolder, 'pictures'))).toEqual([]);
  });

  it('what a process that is gone left half done is removed', async () => {
    await fill(2);
    await open();
    const [name] = (await readdir(join(cacheFolder, 'pictures'))).filter((entry) => !entry.endsWith('.json'));
    await rm(join(cacheFolder, 'pictures', `${name!}.json`));
    await writeFile(join(cacheFolder, 'pictures', `${name!}.partial-999999999-x`), 'x');
    await open();
    expect((await readdir(join(cacheFolder, 'pictures'))).sort()).toEqual([name!, `${name!}.json`]);
  });
});
