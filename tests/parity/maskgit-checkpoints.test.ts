/** The checkpoint files that the PyTorch originals write, against the same weights in safetensors files. */
import {
  readSafetensors,
  treeDifference,
  writeSafetensors,
  NonFiniteError,
  WeightError,
  type HostTree,
  type WeightSource,
} from '@dimo/core';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  foldersWith,
  get,
  largestError,
  maskgitRoot,
  readBytes,
  readTensors,
  transformerConfig,
  transformerFolders,
  vqganConfig,
  vqganFolders,
} from './maskgit-fixtures.js';

const filesOf = (folder: string) => readdirSync(join(maskgitRoot, folder)).sort();
const torchFiles = transformerFolders.flatMap((folder) =>
  filesOf(folder)
    .filter((file) => /\.(pth|bin)$/.test(file))
    .map((file) => ({ folder, file })),
);

describe('transformers', () => {
  it.each(torchFiles)('$folder/$file', async ({ folder, file }) => {
    const expected = readTensors(folder, 'model.safetensors');
    const half = /fp16/.test(file) ? 'F16' : /bf16/.test(file) ? 'BF16' : undefined;
    const rounded = half ? readSafetensors(writeSafetensors(expected, { float: half })).tensors : expected;
    const tree = await readTorchStateDict(readBytes(folder, file));
    expect(treeDifference(tree, rounded)).toBeUndefined();
  });

  it.each(torchFiles.filter(({ file }) => /\.pth$/.test(file)))(
    'a teacher loads from $folder/$file alone',
    async ({ folder, file }) => {
      const source: WeightSource = {
        location: folder,
        list: async () => [file],
        read: async (name) => readBytes(folder, name),
      };
      const config = { transformer: transformerConfig(folder), tokenizer: null };
      const teacher = await maskgitTeacher.load(config, source);
      expect(Object.keys(teacher.weights).sort()).toEqual(Object.keys(teacher.model.parameters).sort());
      const deeper = { ...config, transformer: { ...transformerConfig(folder), depth: 3 } };
      await expect(maskgitTeacher.load(deeper, source)).rejects.toThrow(WeightError);
    },
  );
});

describe('a teacher with the original files', () => {
  const pairs = transformerFolders.flatMap((transformer) => {
    const file = filesOf(transformer).find((name) => name.endsWith('.pth'));
    const vqgan = vqganFolders.find((folder) => filesOf(folder).includes('last.ckpt'));
    return file && vqgan ? [{ transformer, file, vqgan }] : [];
  });
  it.each(pairs)('loads $transformer/$file with the tokenizer of $vqgan', async ({ transformer, file, vqgan }) => {
    const { config, grid } = vqganConfig(vqgan);
    const given = transformerConfig(transformer);
    const { n_embed, ddconfig } = config;
    // Fixtures of several sizes: only those that fit make a teacher.
    if (n_embed !== given.codebookSize) return;
    const side = typeof given.grid === 'number' ? given.grid : grid;
    const teacher = await maskgitTeacher.load(
      {
        transformer: given,
        tokenizer: { kind: 'vqgan', ...config, imageSize: side * 2 ** (ddconfig.ch_mult.length - 1) },
      },
      {
        location: transformer,
        list: async () => [file, 'last.ckpt'],
        read: async (name) => readBytes(name === file ? transformer : vqgan, name),
      },
    );
    expect(Object.keys(teacher.decoderWeights!).sort()).toEqual(Object.keys(teacher.decoder!.parameters).sort());
  });
});

const edgeCases = foldersWith('expected.safetensors').flatMap((folder) =>
  filesOf(folder)
    .filter((file) => file.endsWith('.pth'))
    .map((file) => ({ folder, file })),
);

describe('edge cases of torch.save', () => {
  it.each(edgeCases)('$folder/$file', async ({ folder, file }) => {
    const bytes = readBytes(folder, file);
    // The case i64 holds 2^40, and f16_subnormal an infinity.
    const isInt32 = (name: string) => !/(^|[./])i64$/.test(name);
    const tooLarge = readTorchStateDict(bytes, { only: (name) => !isInt32(name) });
    await expect(tooLarge).rejects.toThrow(/does not fit into 32 bits/);
    await expect(readTorchStateDict(bytes, { only: isInt32 })).rejects.toThrow(NonFiniteError);
    const tree: HostTree = await readTorchStateDict(bytes, { only: isInt32, allowNonFinite: true });
    const expected = {
      ...readSafetensors(readBytes(folder, 'expected.safetensors'), { allowNonFinite: true, only: isInt32 }).tensors,
      ...readSafetensors(readBytes(folder, 'expected_native_dtypes.safetensors'), {
        allowNonFinite: true,
        narrowFloat64: true,
        only: isInt32,
      }).tensors,
    };
    const names = Object.keys(expected).map((name) => name.replace(/^state_dict[./]/, ''));
    expect(Object.keys(tree).sort()).toEqual(names.sort());
    for (const [name, tensor] of Object.entries(expected)) {
      const found = get(tree, name.replace(/^state_dict[./]/, ''));
      expect({ name, shape: found.shape }).toEqual({ name, shape: tensor.shape });
      const finite = (data: ArrayLike<number>) =>
        Array.from(data, (x) => (Number.isFinite(x) ? x : Math.sign(x) * 1e9));
      const error = largestError(
        { ...found, data: Float32Array.from(finite(found.data)) } as typeof found,
        { ...tensor, data: Float32Array.from(finite(tensor.data)) } as typeof tensor,
      );
      expect({ name, error }).toEqual({ name, error: 0 });
    }
  });
});
