/** `dimo dataset info`: what is in a folder of pictures, what is refused, and what the commands would choose. */
import { decodePixels } from '@dimo/pipeline';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { blue, expectColour, halves, pictureFolders, red } from '../support/pictures.js';
import { runDimo } from '../support/run-dimo.js';

const { now, put } = pictureFolders();
const info = (...args: string[]) =>
  runDimo(['dataset', 'info', ...args], { cwd: now.place, env: { DIMO_CACHE: now.cacheFolder } });

it(
  'tells classes, sizes, refused pictures and what is chosen, and shows pictures by class',
  { timeout: 180_000 },
  async () => {
    for (let i = 0; i < 12; i++) await put(`blue/${i}.png`, await halves(blue, blue, 40, 32).png().toBuffer());
    for (let i = 0; i < 3; i++) await put(`red/${i}.jpg`, await halves(red, red, 100, 90).jpeg().toBuffer());
    await writeFile(join(now.folder, 'red/cut.png'), 'no picture');

    const result = await info('pictures', '--json', '--set', 'pictures.testFraction=0');
    expect(result.stderr).toBe('');
    expect(result.code).toBe(0);
    expect(JSON.parse(result.stdout)).toMatchObject({
      dataset: 'pictures',
      images: [32, 32, 3],
      classes: { blue: { train: 12, test: 0 }, red: { train: 3, test: 0 } },
      pictures: {
        formats: { png: 12, jpeg: 3 },
        ...{ smallest: '40 x 32', largest: '100 x 90', medianShorterSide: 32, refused: 1 },
        reasons: { 'red/cut.png': expect.stringContaining('no PNG, JPEG, WebP or GIF') as string },
      },
      chosen: { 'train tokenizer': { preset: 'tiny', config: { patchSize: 4 }, batchSize: 15 } },
      contactSheet: 'contact-sheet.png',
      next: 'dimo train tokenizer --dataset pictures',
    });
    const { shape, data } = decodePixels(await readFile(join(now.place, 'contact-sheet.png')), 'contact sheet');
    // Two classes of ten, each image twice its size.
    expect(shape).toEqual([2 * 64 + 2, 10 * 64 + 9 * 2, 3]);
    const at = (row: number, column: number) => {
      const from = ((row * 66 + 30) * shape[1]! + column * 66 + 30) * 3;
      return [...data.subarray(from, from + 3)].map((value) => Math.round(value * 255));
    };
    expectColour(at(0, 9), blue);
    expectColour(at(1, 2), red);
    expect(at(1, 3)).toEqual([255, 255, 255]);

    const printed = await info('pictures', '--quiet', '--out', 'sheets/all.png');
    expect(printed.stderr).toBe('');
    expect(printed.stdout).toMatch(/cut\.png: 'no PNG/);
    expect(existsSync(join(now.place, 'sheets/all.png'))).toBe(true);

    const small = await info('pictures', '--set', 'train.teacher.preset=small');
    expect(small.stderr).toContain('warning: 1 pictures of pictures are left out');
    expect(small.stdout).toMatch(/train teacher:\n +preset: small/);

    expect(await info('pictures', '--out', 'sheet.jpg')).toMatchObject({ code: 2 });
    expect(await info('picturse')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('no folder of that name') as string,
    });
  },
);
