/**
 * Sizes in configurations beside weights: every number of every file in turn becomes something that would take for ever or
 * all memory if it were believed. Each ends soon with an error of ours, or works.
 */
import { DimoError, readGenerator, type TeacherPlugin, type WeightSource } from '@dimo/core';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { meissonicTeacher } from '@dimo/teacher-meissonic';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';

const preset = fileURLToPath(new URL('../../packages/presets/presets/mnist/', import.meta.url));
const teachers = new Map<string, TeacherPlugin>(
  [maskgitTeacher, meissonicTeacher].map((plugin) => [plugin.name, plugin]),
);

type Files = Readonly<Record<string, Uint8Array>>;

function filesOf(folder: string): Files {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    entries.map(({ parentPath, name }) => {
      const file = path.join(parentPath, name);
      return [path.relative(folder, file), new Uint8Array(readFileSync(file))];
    }),
  );
}

const sourceOf = (files: Files): WeightSource => ({
  location: 'folder',
  list: () => Promise.resolve(Object.keys(files)),
  read: (name) => (files[name] ? Promise.resolve(files[name]) : Promise.reject(new DimoError('io', `no ${name}`))),
});

/** Reads a model in whatever layout it is. */
async function load(files: Files): Promise<unknown> {
  const source = sourceOf(files);
  if ('model.safetensors' in files) return readGenerator(source, teachers);
  for (const plugin of teachers.values()) {
    const found = await plugin.recognize?.(source, 'model_index.json' in files ? { grid: 4 } : {});
    if (found) return plugin.load(found.config, source);
  }
  throw new Error('was not recognized');
}

type Path = readonly (string | number)[];

/** Where the numbers are, those in lists too. */
function numbersIn(value: unknown, at: Path = []): Path[] {
  if (typeof value === 'number') return [at];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, child]) =>
    numbersIn(child, [...at, Array.isArray(value) ? Number(key) : key]),
  );
}

function changed(value: unknown, [key, ...rest]: Path, to: unknown): unknown {
  if (key === undefined) return to;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) }) as Record<
    string | number,
    unknown
  >;
  copy[key] = changed(copy[key], rest, to);
  return copy;
}

const extremes: [string, unknown][] = [
  ['-1', -1],
  ['0', 0],
  ['0.5', 0.5],
  ['2^31 - 1', 2 ** 31 - 1],
  ['2^31', 2 ** 31],
  ['2^53', 2 ** 53],
  ['1e21', 1e21],
  ['null', null],
  ['a text', '7'],
  ['a list of a million', new Array(1_000_000).fill(1)],
];

/** Generous: what loops over 2^31 blocks never ends. */
const longestMilliseconds = 10_000;
const mostBytes = 256 * 2 ** 20;

const models: [string, string, readonly string[]][] = [
  ['a generator', path.join(preset, 'generator'), ['config.json']],
  ['a teacher of ours', preset, ['config.json']],
  [
    'a release',
    path.join(fixtures, 'meissonic', 'tiny_release'),
    [
      'transformer/config.json',
      'vqvae/config.json',
      'text_encoder/config.json',
      'tokenizer/tokenizer_config.json',
      'scheduler/scheduler_config.json',
    ],
  ],
];

describe.each(models)('%s', { timeout: 300_000 }, (_name, folder, names) => {
  const files = filesOf(folder);
  const cases = names.flatMap((name) =>
    numbersIn(JSON.parse(new TextDecoder().decode(files[name]))).map(
      (at) => [`${name}: ${at.join('.')}`, name, at] as const,
    ),
  );

  it('reads as it is', async () => void (await load(files)));

  it.each(cases)('%s', async (_label, name, at) => {
    const config: unknown = JSON.parse(new TextDecoder().decode(files[name]));
    for (const [label, value] of extremes) {
      const bytes = new TextEncoder().encode(JSON.stringify(changed(config, at, value)));
      const before = process.memoryUsage();
      const start = performance.now();
      const outcome = await load({ ...files, [name]: bytes }).then(
        () => undefined,
        (error: unknown) => error,
      );
      const after = process.memoryUsage();
      if (outcome !== undefined) expect(DimoError.isInstance(outcome), `${label}: ${String(outcome)}`).toBe(true);
      expect(performance.now() - start, label).toBeLessThan(longestMilliseconds);
      expect(after.arrayBuffers - before.arrayBuffers, label).toBeLessThan(mostBytes);
    }
  });
});

describe('sizes given to a plugin itself', () => {
  const definitions: [string, TeacherPlugin, Record<string, unknown>][] = [
    ['blocks', maskgitTeacher, { transformer: { depth: 2 ** 31 - 1 } }],
    [
      'a grid',
      maskgitTeacher,
      { tokenizer: null, transformer: { grid: [2 ** 15, 2 ** 15], codebookSize: 4, numClasses: 2 } },
    ],
    ['pictures', maskgitTeacher, { tokenizer: { kind: 'patch-vq', imageShape: [2 ** 20, 2 ** 20, 1] } }],
    ['sampler steps', maskgitTeacher, { sampler: { numSteps: 1e21 } }],
    ['sampler steps below 2^31', maskgitTeacher, { sampler: { numSteps: 2_000_000_000 } }],
    [
      'residual blocks',
      maskgitTeacher,
      {
        tokenizer: {
          kind: 'vqgan',
          embed_dim: 4,
          n_embed: 4,
          ddconfig: {
            ch: 32,
            ch_mult: [1],
            num_res_blocks: 2 ** 31 - 1,
            attn_resolutions: [],
            resolution: 8,
            z_channels: 4,
            in_channels: 3,
            out_ch: 3,
          },
        },
      },
    ],
    [
      'text positions',
      meissonicTeacher,
      {
        transformer: {
          codebookSize: 4,
          grid: 4,
          heads: 1,
          headWidth: 12,
          jointBlocks: 1,
          singleBlocks: 1,
          textWidth: 2 ** 16,
          textLength: 2 ** 16,
          rotaryAxes: [4, 4, 4],
        },
      },
    ],
  ];
  it.each(definitions)('%s', (_name, plugin, config) => {
    expect(() => plugin.define(config)).toThrow(DimoError);
  });
});
