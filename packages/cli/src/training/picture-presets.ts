/**
 * Sizes of tokenizers and teachers for pictures: `tiny` trains in minutes on two cores, `small` in hours, `base` wants a GPU.
 * What a person sets stands above what a preset says.
 */
import type { Dataset } from '@dimo/core';
import type { DimoConfig } from '../config/schema.js';

/** Name of a preset. */
export type PresetName = NonNullable<DimoConfig['train']['tokenizer']['preset']>;

/** Names of all presets. */
export const presetNames: readonly PresetName[] = ['tiny', 'small', 'base'];

type Settings = Readonly<Record<string, unknown>>;

/** Patches that patch-VQ can have. */
const patchSizes = [4, 8, 16];

/** Settings under `train.tokenizer` for images of a shape. */
export function tokenizerPreset(
  name: PresetName,
  { imageShape, train }: Pick<Dataset, 'imageShape' | 'train'>,
): Settings {
  const [height, width] = imageShape;
  const batchSize = Math.min(64, train.count);
  if (name === 'tiny')
    return {
      config: {
        kind: 'patch-vq',
        patchSize: patchFor(height, width, 8),
        codebookSize: 256,
        encoderWidth: 96,
        decoderWidth: 64,
      },
      numSteps: 300,
      batchSize,
    };
  if (name === 'small')
    return {
      config: {
        kind: 'patch-vq',
        patchSize: patchFor(height, width, 16),
        codebookSize: 512,
        codeWidth: 16,
        encoderWidth: 256,
        decoderWidth: 256,
      },
      numSteps: 5000,
      batchSize,
    };
  const halvings = halvingsFor(height, width, 16);
  const levels = [1, 2, 2, 4, 4, 4, 4].slice(0, halvings + 1);
  return {
    config: {
      kind: 'vqgan',
      embed_dim: 32,
      n_embed: 1024,
      ddconfig: { ch: 64, ch_mult: levels, num_res_blocks: 2, attn_resolutions: [], z_channels: 64 },
    },
    numSteps: 50_000,
    batchSize: Math.min(32, train.count),
    learningRate: 3e-4,
  };
}

/** Settings under `train.teacher` of a MaskGIT teacher of a dataset. */
export function teacherPreset(name: PresetName, { train }: Pick<Dataset, 'train'>): Settings {
  const batchSize = Math.min(64, train.count);
  if (name === 'tiny') return { numSteps: 800, batchSize };
  if (name === 'small')
    return {
      config: { transformer: { hidden: 256, depth: 6, heads: 8, mlp: 1024 } },
      numSteps: 10_000,
      batchSize,
      learningRate: 1e-3,
    };
  return {
    config: { transformer: { hidden: 512, depth: 12, heads: 8, mlp: 2048 } },
    numSteps: 100_000,
    batchSize,
    learningRate: 3e-4,
    averageDecay: 0.9995,
  };
}

/** Settings under `distill` for a teacher that was trained with a preset: of what is trained in minutes, minutes. */
export function distillationPreset(name: PresetName): Settings {
  if (name === 'tiny') return { numSteps: 300, sampleEvery: 100 };
  return { numSteps: name === 'small' ? 4000 : 20_000 };
}

/** The smallest patch that gives at most so many tokens along a side; of those that fit into the images without rest. */
function patchFor(height: number, width: number, tokens: number): number {
  const fitting = patchSizes.filter((size) => height % size === 0 && width % size === 0);
  return fitting.find((size) => Math.max(height, width) <= size * tokens) ?? fitting.at(-1) ?? patchSizes[0]!;
}

/** How often sides can be halved until there are at most so many tokens along them. */
function halvingsFor(height: number, width: number, tokens: number): number {
  let halvings = 0;
  while (
    Math.max(height, width) > tokens * 2 ** halvings &&
    height % 2 ** (halvings + 1) === 0 &&
    width % 2 ** (halvings + 1) === 0
  )
    halvings++;
  return halvings;
}
