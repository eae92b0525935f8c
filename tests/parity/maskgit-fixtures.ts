/**
 * Fixtures made by the PyTorch originals, and the engines that have to reproduce them. `DIMO_FIXTURES` names another
 * root; every folder below `<root>/maskgit` is used by its form, whatever it is called.
 */
import { float32, readSafetensors, type HostTensor, type HostTree } from '@dimo/core';
import { nodeEngines } from '@dimo/backend-node';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readTorchStateDict } from '@dimo/core/weight-files';
import { type MaskTransformerConfig } from '@dimo/teacher-maskgit';
import { type VqganConfig } from '@dimo/tokenizers';

const root = process.env['DIMO_FIXTURES'] ?? fileURLToPath(new URL('../fixtures', import.meta.url));
export const maskgitRoot = join(root, 'maskgit');

/** Engines under test: all that need neither a GPU nor a build. */
export const engines = nodeEngines.filter(({ name }) => ['cpu', 'onnx', 'onnx-native', 'wasm'].includes(name));

/** Folders that hold all of `files`. */
export function foldersWith(...files: string[]): string[] {
  if (!existsSync(maskgitRoot)) return [];
  return readdirSync(maskgitRoot, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && files.every((file) => existsSync(join(maskgitRoot, entry.name, file))))
    .map((entry) => entry.name)
    .sort();
}

export function readJson<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(maskgitRoot, ...path), 'utf8')) as T;
}

export function readBytes(...path: string[]): Uint8Array {
  return readFileSync(join(maskgitRoot, ...path));
}

/** Tensors of a file; -Infinity marks known positions in the sampler's confidences. */
export function readTensors(...path: string[]): HostTree {
  return readSafetensors(readBytes(...path), { allowNonFinite: true }).tensors;
}

interface TransformerFile {
  readonly hidden_dim: number;
  readonly codebook_size: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp_dim: number;
  readonly nclass: number;
  readonly grid: number;
}

interface VqganFile extends VqganConfig {
  readonly code_grid: number;
}

const configs = foldersWith('config.json', 'io.safetensors').map((folder) => ({
  folder,
  config: readJson<Record<string, unknown>>(folder, 'config.json'),
}));

/** Folders with a transformer. */
export const transformerFolders = configs.filter(({ config }) => 'hidden_dim' in config).map(({ folder }) => folder);

/** Folders with a VQGAN. */
export const vqganFolders = configs.filter(({ config }) => 'ddconfig' in config).map(({ folder }) => folder);

/** Weights of a VQGAN, from a safetensors file or the original's checkpoint. */
export async function vqganWeights(folder: string): Promise<HostTree> {
  if (existsSync(join(maskgitRoot, folder, 'model.safetensors'))) return readTensors(folder, 'model.safetensors');
  return readTorchStateDict(readBytes(folder, 'last.ckpt'), { only: (name) => !name.startsWith('loss.') });
}

export function transformerConfig(folder: string): MaskTransformerConfig {
  const file = readJson<TransformerFile>(folder, 'config.json');
  return {
    hidden: file.hidden_dim,
    depth: file.depth,
    heads: file.heads,
    mlp: file.mlp_dim,
    codebookSize: file.codebook_size,
    numClasses: file.nclass,
    grid: file.grid,
  };
}

export function vqganConfig(folder: string): { readonly config: VqganConfig; readonly grid: number } {
  const { code_grid, embed_dim, n_embed, ddconfig } = readJson<VqganFile>(folder, 'config.json');
  return { config: { embed_dim, n_embed, ddconfig }, grid: code_grid };
}

/** A tensor of the tree. */
export function get(tree: HostTree, name: string): HostTensor {
  const tensor = tree[name];
  if (!tensor) throw new Error(`the fixture has no tensor "${name}"`);
  return tensor;
}

/** The same data under another shape. */
export function reshaped<T extends HostTensor>(tensor: T, shape: readonly number[]): T {
  return { ...tensor, shape };
}

/** Largest absolute difference of all elements; infinite if sizes differ or one is NaN. */
export function largestError(actual: HostTensor, expected: HostTensor): number {
  if (actual.data.length !== expected.data.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const error = Math.abs(actual.data[i]! - expected.data[i]!);
    if (!(error <= largest)) largest = Number.isNaN(error) ? Infinity : error;
  }
  return largest;
}

/** [batch, H, W, C] of [batch, C, H, W]. */
export function channelsLast(tensor: HostTensor): HostTensor<'float32'> {
  const [batch, channels, height, width] = tensor.shape as [number, number, number, number];
  const data = new Float32Array(tensor.data.length);
  const area = height * width;
  for (let b = 0; b < batch; b++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < area; i++) data[(b * area + i) * channels + c] = tensor.data[(b * channels + c) * area + i]!;
  return float32([batch, height, width, channels], data);
}
