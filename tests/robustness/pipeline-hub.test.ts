/** `pipeline('hf:...')` of a hub on loopback fetches what the model needs, and nothing where there is none. */
import { pipeline, type LoadingProgress } from '@dimo/pipeline';
import { presetFolder, presets } from '@dimo/presets';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { startHub, type HubServer } from '../support/hub-server.js';

let scratch: string;
let hub: HubServer;
const large = Buffer.alloc(100_000, 1);

beforeEach(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'dimo-pipeline-hub-'));
  hub = await startHub({ files: {} });
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
  vi.stubEnv('HF_HOME', scratch);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
  await rm(scratch, { recursive: true, force: true });
});

/** Files that were fetched whole; of others at most a header was read. */
const fetched = () => {
  const whole = hub.fetches().filter(({ range }) => !/^bytes=\d+-\d+$/.test(range ?? ''));
  return [...new Set(whole.map(({ file }) => file))].sort();
};

it('fetches no weights of a repository that holds no model', async () => {
  hub.content = {
    files: { 'config.json': Buffer.from('{"model_type":"bert"}'), 'model.safetensors': large, 'vocab.txt': large },
  };
  await expect(pipeline('hf:maker/model')).rejects.toMatchObject({
    code: 'option',
    message: expect.stringContaining('holds no model') as string,
  });
  expect(fetched()).toEqual([]);
});

it('fetches the files of a generator with their progress, and nothing beside them', async () => {
  const folder = path.join(fileURLToPath(presetFolder(presets.mnist)), 'generator');
  const files = Object.fromEntries(
    await Promise.all(
      (await readdir(folder)).map(async (name) => [name, await readFile(path.join(folder, name))] as const),
    ),
  );
  hub.content = { files: { ...files, 'samples/other.safetensors': large } };
  const events: LoadingProgress[] = [];
  const generate = await pipeline('hf:maker/model', { engine: 'wasm', onProgress: (event) => events.push(event) });
  expect(await generate('3', { seed: 1 })).toHaveLength(1);
  await generate.dispose();
  expect(fetched()).not.toContain('samples/other.safetensors');
  expect(fetched()).toEqual(expect.arrayContaining(['model.safetensors', 'decoder.safetensors']));
  expect(events).toContainEqual({
    stage: 'files',
    file: 'model.safetensors',
    loadedBytes: files['model.safetensors']!.length,
    totalBytes: files['model.safetensors']!.length,
  });
});
