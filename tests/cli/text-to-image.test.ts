/** A text-to-image teacher through the commands, as a person runs them: distilled on prompts from a file, then sampled. */
import { folderWeightSource } from '@dimo/backend-node';
import { readTeacher, teacherFiles } from '@dimo/teacher-meissonic';
import { decode, encode } from 'fast-png';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { runDimo, type DimoResult } from '../support/run-dimo.js';

let folder: string;
const at = (...parts: string[]): string => path.join(folder, ...parts);

function dimo(...args: string[]): Promise<DimoResult> {
  return runDimo([...args, '--engine', 'onnx', '--threads', '1'], { cwd: folder });
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-text-'));
  // The release in miniature, as a folder of ours: it says the size of the pictures.
  const release = folderWeightSource(path.join(fixtures, 'meissonic', 'tiny_release'));
  const teacher = await readTeacher({ layout: 'release', grid: 4 }, release);
  await mkdir(at('teacher'));
  for (const [name, bytes] of Object.entries(teacherFiles(teacher))) await writeFile(at('teacher', name), bytes);
  const description = { format: 'dimo-teacher', version: 1, teacher: { name: 'meissonic', config: {} } };
  await writeFile(at('teacher', 'teacher.json'), JSON.stringify(description));
  await writeFile(at('prompts.txt'), 'a photo of a cat\n\na red ball on a blue cube\n');
  await writeFile(
    at('dimo.config.yaml'),
    'distill: { negativePrompt: blurry, maskSchedule: cosine, maskRatioRange: [0.02, 0.98] }\n',
  );
});
afterAll(() => rm(folder, { recursive: true }));

const run = ['distill', '--teacher', 'teacher', '--steps', '2', '--batch', '2', '--runs', '.', '--quiet'];

describe('a text-to-image teacher', { timeout: 120_000 }, () => {
  it('needs prompts, and names what is wrong with them', async () => {
    await writeFile(at('empty.txt'), '\n \n');
    for (const [flags, message] of [
      [[], /there are no prompts to draw from/],
      [['--prompts', 'missing.txt'], /distill\.prompts: .*missing\.txt/],
      [['--prompts', 'empty.txt'], /empty\.txt: expected one prompt per line/],
    ] as const) {
      const { code, stderr } = await dimo(...run, ...flags, '--name', 'wrong');
      expect(stderr).toMatch(message);
      expect(code, stderr).toBe(2);
    }
  });

  it('is led away from a negative prompt, if it is guided at all', async () => {
    const tokensOf = async (name: string, ...flags: string[]): Promise<unknown> => {
      const flagsOfAll = ['--teacher', 'teacher', '--steps', '3', '--seed', '5', '--out', `${name}.png`, '--quiet'];
      const { code, stderr } = await dimo('sample', 'a boat', ...flagsOfAll, ...flags, '--tokens', `${name}.json`);
      expect(code, stderr).toBe(0);
      return (JSON.parse(await readFile(at(`${name}.json`), 'utf8')) as { tokens: unknown }).tokens;
    };
    const plain = await tokensOf('plain');
    // The prompt of the null condition is empty unless the teacher's configuration says otherwise.
    expect(await tokensOf('blank', '--negative-prompt', ' ')).toEqual(plain);
    expect(await tokensOf('away', '--negative-prompt', 'a red ball on a blue cube')).not.toEqual(plain);
    const unguided = ['--teacher', 'teacher', '--negative-prompt', 'x', '--guidance', '1'];
    const { code, stderr } = await dimo('sample', 'a boat', ...unguided);
    expect([code, stderr]).toEqual([2, expect.stringContaining('no effect without guidance')]);
  });

  it('completes an image that its VQ-VAE encodes', async () => {
    const drawn = async (name: string, ...flags: string[]): Promise<number[]> => {
      const flagsOfAll = ['--teacher', 'teacher', '--steps', '3', '--out', `${name}.png`, '--quiet'];
      const { code, stderr } = await dimo('sample', 'a boat', ...flagsOfAll, ...flags, '--tokens', `${name}.json`);
      expect(code, stderr).toBe(0);
      return (JSON.parse(await readFile(at(`${name}.json`), 'utf8')) as { tokens: number[][] }).tokens[0]!;
    };
    await drawn('source', '--seed', '1');
    const { width, height } = decode(await readFile(at('source.png')));
    const mask = Uint8Array.from({ length: width * height }, (_, i) => (i < (width * height) / 2 ? 255 : 0));
    await writeFile(at('mask.png'), encode({ width, height, channels: 1, depth: 8, data: mask }));
    const begins = ['--init-image', 'source.png', '--mask', 'mask.png'];
    const [first, second] = [await drawn('first', ...begins), await drawn('second', ...begins, '--seed', '2')];
    expect(first.slice(8)).toEqual(second.slice(8));
    expect(first.slice(0, 8)).not.toEqual(second.slice(0, 8));
    const pixels = async (name: string) => decode(await readFile(at(name))).data.slice((width * height * 3) / 2);
    expect(await pixels('first.png')).toEqual(await pixels('source.png'));
  });

  it('is distilled on the prompts of a file into a generator that understands prompts on its own', async () => {
    const distilled = await dimo(...run, '--prompts', 'prompts.txt', '--name', 'run');
    expect(distilled.code, distilled.stderr).toBe(0);
    expect((await readdir(at('run', 'generator'))).sort()).toEqual([
      'README.md',
      'config.json',
      'decoder.safetensors',
      'model.safetensors',
      'special_tokens_map.json',
      'text_encoder.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    await rm(at('teacher'), { recursive: true });
    const sampled = await dimo(
      'sample',
      'a photo of a cat',
      'a boat',
      '--model',
      'run',
      '--out',
      'pictures.png',
      '--columns',
      '2',
    );
    expect(sampled.code, sampled.stderr).toBe(0);
    const { width, height, channels } = decode(await readFile(at('pictures.png')));
    expect([width >= 2 * 16, height >= 16, channels]).toEqual([true, true, 3]);
    const refused = await dimo('sample', 'a boat', '--model', 'run', '--negative-prompt', 'blurry');
    expect([refused.code, refused.stderr]).toEqual([
      2,
      expect.stringMatching(/"run" is a one-step generator[^]*sample\.negativePrompt[^]*--teacher/),
    ]);
  });
});
