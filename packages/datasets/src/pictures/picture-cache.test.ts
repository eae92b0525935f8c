/** What is no picture is refused by its name; order, parts and cache are those of the folder and the options. */
import { OptionError, readPixels } from '@dimo/core';
import { existsSync } from 'node:fs';
import { readdir, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  at,
  blue,
  expectColour,
  grayPng,
  halves,
  imagesOf,
  pictureFolders,
  red,
} from '../../../../tests/support/pictures.js';
import { openPictureFolder, type OpenPictureFolderOptions } from './picture-folder.js';

const { now, put } = pictureFolders();
const open = (options: OpenPictureFolderOptions = {}) =>
  openPictureFolder(now.folder, { cacheFolder: now.cacheFolder, testFraction: 0, size: 16, ...options });

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
    expect(existsSync(now.cacheFolder) ? (await readdir(join(now.cacheFolder, 'pictures'))).length : 0).toBe(0);
  });

  it('are named a few at once, with what is in their names escaped', async () => {
    await put('good.png', await halves(red, red).png().toBuffer());
    for (let i = 0; i < 8; i++) await put(`bad \x1b[31m${i}.png`, Buffer.from('x'));
    const error: unknown = await open().catch((reason: unknown) => reason);
    const { message } = error as Error;
    expect(message).toContain('bad \\x1b[31m0.png');
    expect(message).toContain('bad \\x1b[31m4.png');
    expect(message).toContain('and 3 more');
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
    // What another command has skipped and kept is still refused by one that does not skip.
    await expect(open()).rejects.toThrow(/a\/bad\.png/);
    await rm(join(now.folder, 'a/good.png'));
    await rm(join(now.folder, 'b'), { recursive: true });
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
    await utimes(join(now.folder, 'even/0.png'), 5, 5);
    const changed = await count();
    expect(changed.decoded).toBe(6);
    expect(changed.dataset.train.pixels.key).not.toBe(first.dataset.train.pixels.key);
    // A cache that was cut is made anew; one that is cut while it is read is an error.
    const files = (await readdir(join(now.cacheFolder, 'pictures'))).filter((name) => !name.endsWith('.json'));
    expect(files).toHaveLength(3);
    for (const name of files) await truncate(join(now.cacheFolder, 'pictures', name), 10);
    await expect(imagesOf(changed.dataset)).rejects.toThrow(/removed or cut while it was in use/);
    expect((await count()).decoded).toBe(6);
  });

  it('a stop request ends decoding without a trace', async () => {
    await fill(3);
    await expect(open({ signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
    expect(await readdir(join(now.cacheFolder, 'pictures'))).toEqual([]);
  });

  it('what a process that is gone left half done is removed', async () => {
    await fill(2);
    await open();
    const [name] = (await readdir(join(now.cacheFolder, 'pictures'))).filter((entry) => !entry.endsWith('.json'));
    await rm(join(now.cacheFolder, 'pictures', `${name!}.json`));
    await writeFile(join(now.cacheFolder, 'pictures', `${name!}.partial-999999999-x`), 'x');
    await open();
    expect((await readdir(join(now.cacheFolder, 'pictures'))).sort()).toEqual([name!, `${name!}.json`]);
  });
});
