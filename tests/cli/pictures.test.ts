/** A folder of pictures to a one-step generator by commands that name nothing but the folder. */
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { blue, halves, pictureFolders, red } from '../support/pictures.js';
import { runDimo } from '../support/run-dimo.js';

const { now, put } = pictureFolders();

async function fill(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await put(
      `left-red/${i}.png`,
      await halves(red, blue, 20 + i, 24)
        .png()
        .toBuffer(),
    );
    await put(
      `left-blue/${i}.png`,
      await halves(blue, red, 20 + i, 24)
        .png()
        .toBuffer(),
    );
  }
}

const dimo = (...args: string[]) => runDimo(args, { cwd: now.place, env: { DIMO_CACHE: now.cacheFolder } });
const quick = ['--engine', 'wasm', '--steps', '2'];

describe('a folder of pictures', () => {
  it('becomes tokenizer, teacher, generator and figures', { timeout: 300_000 }, async () => {
    await fill(8);
    const dataset = ['--dataset', './pictures'];
    const tokenizer = await dimo('train', 'tokenizer', ...dataset, ...quick);
    expect(tokenizer.code, tokenizer.stderr).toBe(0);
    expect(tokenizer.stderr).toMatch(/of 2 classes, as images \[16, 16, 3\]/);
    const config = async (run: string) =>
      parse(await readFile(join(now.place, 'runs', run, 'config.yaml'), 'utf8')) as Record<string, never>;
    expect(await config('tokenizer-pictures')).toMatchObject({
      dataset: './pictures',
      train: { tokenizer: { preset: 'tiny', numSteps: 2, config: { kind: 'patch-vq', patchSize: 4 } } },
    });
    expect(existsSync(join(now.place, 'runs/tokenizer-pictures/samples/reconstructions.png'))).toBe(true);

    const teacher = await dimo('train', 'teacher', ...dataset, ...quick);
    expect(teacher.code, teacher.stderr).toBe(0);
    expect(teacher.stdout + teacher.stderr).toMatch(/next: dimo distill --dataset .\/pictures/);
    expect(teacher.stderr).toContain('tokenizer: runs/tokenizer-pictures, the newest of ./pictures');
    const description = await readFile(join(now.place, 'runs/teacher-pictures/teacher/teacher.json'), 'utf8');
    expect(JSON.parse(description)).toMatchObject({ teacher: { config: { classNames: ['left-blue', 'left-red'] } } });
    expect(existsSync(join(now.place, 'runs/teacher-pictures/samples/step-000002.png'))).toBe(true);
    // Whoever is sent the teacher is not told where the pictures are.
    expect(description).not.toContain('./pictures');

    const distilled = await dimo('distill', ...dataset, ...quick, '--batch', '4');
    expect(distilled.code, distilled.stderr).toBe(0);
    expect(existsSync(join(now.place, 'runs/distill-teacher-pictures/samples/step-000002.png'))).toBe(true);
    // That of the teacher's preset.
    expect(await config('distill-teacher-pictures')).toMatchObject({ distill: { numSteps: 2, sampleEvery: 100 } });

    const measured = await dimo(
      ...['eval', ...dataset, '--model', 'runs/distill-teacher-pictures', '--count', '12', '--engine', 'wasm'],
      ...['--teacher-steps', '[2]', '--set', 'eval.judge.numSteps=2', '--json'],
    );
    expect(measured.code, measured.stderr).toBe(0);
    const { rows, classNames } = JSON.parse(measured.stdout) as { rows: { fid: number }[]; classNames: string[] };
    expect(rows).toHaveLength(2);
    expect(rows.every(({ fid }) => Number.isFinite(fid))).toBe(true);
    expect(classNames).toEqual(['left-blue', 'left-red']);
  });

  it('refuses with code 2 what cannot be used, and makes nothing', { timeout: 300_000 }, async () => {
    const refused = async (message: RegExp, ...args: string[]) => {
      const { code, stderr } = await dimo(...args);
      expect(stderr).toMatch(message);
      expect(code).toBe(2);
      expect(existsSync(join(now.place, 'runs'))).toBe(false);
    };
    await refused(/holds no pictures/, 'train', 'tokenizer', '--dataset', './pictures');
    await fill(1);
    await writeFile(join(now.folder, 'left-red/bad.png'), 'no picture');
    await refused(/left-red\/bad\.png: no PNG, JPEG, WebP or GIF/, 'train', 'tokenizer', '--dataset', 'pictures');
    await refused(/no run in runs has made a tokenizer/, 'train', 'teacher', '--dataset', './pictures');
    await refused(/no run in runs has made a teacher/, 'distill', '--dataset', './pictures');
    await refused(/--dataset \.\/pictures has no effect/, 'distill', '--dataset', './pictures', '--teacher', 'mnist');
    await refused(/there is no folder of that name/, 'train', 'tokenizer', '--dataset', 'picturse');
  });
});
