import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readRunConfig } from './folder.js';

it('a folder with both config.yaml and config.json is refused, naming both', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'dimo-both-'));
  try {
    await writeFile(join(folder, 'config.yaml'), 'seed: 3\n');
    expect(await readRunConfig(folder)).toEqual({ seed: 3 });
    await writeFile(join(folder, 'config.json'), '{}');
    await expect(readRunConfig(folder)).rejects.toThrow('both config.yaml and config.json');
  } finally {
    await rm(folder, { recursive: true });
  }
});
