import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeSharedFile } from './shared-files.js';

let folder: string;
const at = (...parts: string[]): string => join(folder, ...parts);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const write = (run: string, text: string) => writeSharedFile(at(run, 'encoder'), bytes(text), at('.shared'));
const textOf = (run: string) => readFile(at(run, 'encoder'), 'utf8');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'dimo-shared-'));
  for (const run of ['a', 'b', 'c']) await mkdir(at(run));
});
afterEach(() => rm(folder, { recursive: true }));

describe('a shared file', () => {
  it('is stored once for all runs, and whole in each of them', async () => {
    expect([await write('a', 'weights'), await write('b', 'weights')]).toEqual([true, true]);
    const [a, b] = await Promise.all(['a', 'b'].map((run) => stat(at(run, 'encoder'))));
    expect([a!.ino === b!.ino, a!.nlink]).toEqual([true, 3]);
    // Written again, as when a run is continued.
    expect(await write('b', 'weights')).toBe(true);
    expect(await readdir(at('b'))).toEqual(['encoder']);
    await rm(at('a'), { recursive: true });
    await rm(at('.shared'), { recursive: true });
    expect(await textOf('b')).toBe('weights');
  });

  it('of another content is another file; what no run has any more is removed', async () => {
    await write('a', 'weights');
    await write('b', 'others');
    expect(await readdir(at('.shared'))).toHaveLength(2);
    await rm(at('a'), { recursive: true });
    await write('c', 'others');
    expect(await readdir(at('.shared'))).toHaveLength(1);
    expect([await textOf('b'), await textOf('c')]).toEqual(['others', 'others']);
  });

  it('that was damaged is not linked to', async () => {
    await write('a', 'weights');
    const [name] = await readdir(at('.shared'));
    await writeFile(at('.shared', name!), 'WEIGHTS'); // in place: the first run has it too
    await write('b', 'weights');
    expect(await textOf('b')).toBe('weights');
  });

  it('is an ordinary one where there is no place for the shared ones', async () => {
    await writeFile(at('.shared'), 'a file');
    expect(await write('a', 'weights')).toBe(false);
    expect(await textOf('a')).toBe('weights');
  });
});
