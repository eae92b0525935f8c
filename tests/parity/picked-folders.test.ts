/** Folders with weights in files of PyTorch, as a page gets them from a person who picks them: read in parts, without Node. */
import { fileListModelFolder } from '@dimo/backend-web';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readModelFolder } from '../../packages/pipeline/src/model/read-model.js';
import { bundledTeachers } from '../../packages/pipeline/src/teachers.js';
import { fixtures, loadTensors } from './fixtures.js';

/** Files as a browser gives them, of which parts are read. */
function picked(files: Readonly<Record<string, string>>) {
  return Object.entries(files).map(([name, path]) => {
    const blob = new Blob([readFileSync(path)]);
    return {
      name: name.split('/').at(-1)!,
      webkitRelativePath: `model/${name}`,
      size: blob.size,
      slice: (begin: number, end: number) => blob.slice(begin, end),
    };
  });
}

it('the checkpoints of MaskGIT and its VQGAN are a teacher', async () => {
  const transformer = join(fixtures, 'maskgit', 'transformer-4x4', 'MaskGIT_tiny.pth');
  const files = { 'm.pth': transformer, 'last.ckpt': join(fixtures, 'maskgit', 'vqgan-f2-ckpt', 'last.ckpt') };
  const model = await readModelFolder(fileListModelFolder(picked(files)), bundledTeachers);
  const { weights, decoderWeights } = await model.teacher!();
  expect({ ...weights }).toEqual({ ...(await readTorchStateDict(readFileSync(transformer))) });
  expect(Object.keys(decoderWeights!).length).toBeGreaterThan(100);
});

it('a release of Meissonic whose decoder is a .bin file is a teacher', async () => {
  const release = join(fixtures, 'meissonic', 'tiny_release');
  const names = readdirSync(release, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  const files = Object.fromEntries(names.map((path) => [path.slice(release.length + 1), path]));
  delete files['vqvae/diffusion_pytorch_model.safetensors'];
  files['vqvae/diffusion_pytorch_model.bin'] = join(fixtures, 'meissonic-bin', 'diffusion_pytorch_model.bin');
  const model = await readModelFolder(fileListModelFolder(picked(files)), bundledTeachers);
  const { decoderWeights } = await model.teacher!();
  const expected = loadTensors('meissonic', 'tiny_release', 'vqvae', 'diffusion_pytorch_model.safetensors');
  for (const [name, tensor] of Object.entries(decoderWeights!)) expect(tensor, name).toEqual(expected[name]);
});
