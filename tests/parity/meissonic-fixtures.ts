/** Fixtures of the Meissonic original (fixtures/meissonic/README.md) in the terms of this implementation. */
import { float32, int32, type HostTensor, type HostTree } from '@dimo/core';
import {
  embedMicroConditions,
  multimodalTransformer,
  type MultimodalTransformer,
  type MultimodalTransformerConfig,
} from '@dimo/teacher-meissonic';
import { loadJson, loadTensors } from './fixtures.js';

/** A transformer's config.json in the diffusers layout. */
interface DiffusersConfig {
  readonly attention_head_dim: number;
  readonly axes_dims_rope: readonly [number, number, number];
  readonly codebook_size: number;
  readonly downsample: boolean;
  readonly joint_attention_dim: number;
  readonly num_attention_heads: number;
  readonly num_layers: number;
  readonly num_single_layers: number;
  readonly vocab_size: number;
}

/** The transformer of a fixture folder on a grid. */
export function fixtureTransformer(
  path: readonly string[],
  size: Pick<MultimodalTransformerConfig, 'grid' | 'textLength'>,
): MultimodalTransformer {
  const config = loadJson<DiffusersConfig>('meissonic', ...path, 'config.json');
  return multimodalTransformer({
    codebookSize: config.codebook_size,
    vocabularySize: config.vocab_size,
    heads: config.num_attention_heads,
    headWidth: config.attention_head_dim,
    jointBlocks: config.num_layers,
    singleBlocks: config.num_single_layers,
    textWidth: config.joint_attention_dim,
    rotaryAxes: config.axes_dims_rope,
    downsample: config.downsample,
    ...size,
  });
}

/** Weights of a fixture's transformer. */
export function transformerWeights(...path: string[]): HostTree {
  return loadTensors('meissonic', ...path, 'diffusion_pytorch_model.safetensors');
}

/** The model's condition from the original's inputs. */
export function conditionOf(
  textStates: HostTensor,
  pooledText: HostTensor,
  microConditions: ArrayLike<number>,
): HostTree {
  return { textStates, pooledText, microConditions: embedMicroConditions(microConditions) };
}

/** The training and sampling scripts' micro-conditions for a batch. */
export function defaultMicroConditions(batch: number): number[] {
  return Array.from({ length: batch }, () => [1024, 1024, 0, 0, 6]).flat();
}

/** A tensor of the tree. */
export function tensor<D extends HostTensor['dtype'] = 'float32'>(tree: HostTree, name: string): HostTensor<D> {
  const found = tree[name];
  if (!found) throw new Error(`the fixture has no tensor "${name}"`);
  return found as HostTensor<D>;
}

/** [batch, H * W, C] of [batch, C, H, W]. */
export function channelsLast(given: HostTensor): HostTensor<'float32'> {
  const [batch, channels, height, width] = given.shape as [number, number, number, number];
  const area = height * width;
  const data = new Float32Array(given.data.length);
  for (let b = 0; b < batch; b++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < area; i++) data[(b * area + i) * channels + c] = given.data[(b * channels + c) * area + i]!;
  return float32([batch, area, channels], data);
}

/** Codes [batch, H, W] as tokens [batch, H * W]. */
export function tokensOf({ data, shape }: HostTensor): HostTensor<'int32'> {
  return int32([shape[0]!, data.length / shape[0]!], data);
}
