/** Entries of the cache: found again, never believed when damaged, and no obstacle when they cannot be kept. */
import { WeightError } from '@dimo/core';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { cached, cacheFolder } from './content-cache.js';

let folder: string;
let made: number;
let problems: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-cache-'));
  vi.stubEnv('DIMO_CACHE', folder);
  made = 0;
  problems = [];
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

const get = (key: string, content = 'content', read = (bytes: Uint8Array) => new TextDecoder().decode(bytes)) =>
  cached({
    kind: 'thing',
    key,
    read,
    make() {
      made++;
      return Promise.resolve(new TextEncoder().encode(content));
    },
    onProblem: (line) => problems.push(line),
  });

describe('an entry of the cache', () => {
  it('is made once for each key, and leaves one file', async () => {
    expect([await get('a'), await get('a'), await get('b', 'other'), await get('b')]).toEqual([
      'content',
      'content',
      'other',
      'other',
    ]);
    expect(made).toBe(2);
    expect((await readdir(folder)).sort()).toEqual(['thing-a.cache', 'thing-b.cache']);
  });

  it.each<[string, (path: string) => Promise<void>]>([
    ['empty', (path) => writeFile(path, '')],
    ['cut', async (path) => writeFile(path, (await readFile(path)).subarray(0, -1))],
    [
      'changed by one bit',
      async (path) => {
        const bytes = await readFile(path);
        bytes[2]! ^= 1;
        await writeFile(path, bytes);
      },
    ],
    [
      'that of another key',
      async (path) => {
        await get('z', 'of another key');
        made--;
        await rename(join(folder, 'thing-z.cache'), path);
      },
    ],
  ])('that is %s is made anew', async (_name, damage) => {
    await get('a');
    await damage(join(folder, 'thing-a.cache'));
    expect(await get('a')).toBe('content');
    expect(made).toBe(2);
    expect(await get('a')).toBe('content');
    expect(made).toBe(2);
  });

  it('that its reader refuses is made anew', async () => {
    await get('a', 'old');
    const read = (bytes: Uint8Array) => {
      const text = new TextDecoder().decode(bytes);
      if (text === 'old') throw new WeightError('of another kind');
      return text;
    };
    expect(await get('a', 'new', read)).toBe('new');
  });

  it('may be made by several at once', async () => {
    expect(await Promise.all(Array.from({ length: 8 }, () => get('a')))).toEqual(Array(8).fill('content'));
    expect(await readdir(folder)).toEqual(['thing-a.cache']);
  });

  it('that cannot be kept is a note, not a failure', async () => {
    await writeFile(join(folder, 'file'), '');
    vi.stubEnv('DIMO_CACHE', join(folder, 'file'));
    expect(await get('a')).toBe('content');
    expect(problems[0]).toMatch(/^note: .*thing-a\.cache could not be kept/);
  });

  it('lies in the user cache where nothing else is named, also by an empty variable', () => {
    vi.stubEnv('DIMO_CACHE', '');
    vi.stubEnv('XDG_CACHE_HOME', '/somewhere');
    expect(cacheFolder()).toBe(join('/somewhere', 'dimo'));
  });
});
