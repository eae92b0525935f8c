/** Size of a MaskGIT transformer: options, parameter names and shapes, first weights. */
import {
  float32,
  OptionError,
  refuseUnknownKeys,
  requireGrid,
  requireInteger,
  requireNumber,
  requireObject,
  sizeLimits,
  sizeOf,
  type HostTree,
  type RandomStream,
  type SpecTree,
} from '@dimo/core';

/** Size of a MaskGIT transformer. Full size at 256 px: 768, 24, 16, 3072, 1024, 1000, 16. */
export interface MaskTransformerConfig {
  /** Width of embeddings and activations. */
  readonly hidden: number;
  /** Number of blocks. */
  readonly depth: number;
  /** Attention heads; divides `hidden`. Cannot be read from the weights: every official loader uses 16. */
  readonly heads: number;
  /** Width inside the blocks' MLPs. */
  readonly mlp: number;
  /** K, number of codes of the tokenizer. */
  readonly codebookSize: number;
  /** Number of classes; the label `numClasses` is "no class". */
  readonly numClasses: number;
  /** Token grid: n for [n, n]. */
  readonly grid: number | readonly [rows: number, columns: number];
  /**
   * Standard deviation of fresh token embeddings. The original's 1 is bad for small models with a tied head; 0.1 suits
   * them. @default 1
   */
  readonly embeddingDeviation?: number;
}

/** `MaskTransformerConfig` with every default filled in. */
export interface ResolvedMaskTransformerConfig extends Required<MaskTransformerConfig> {
  readonly grid: readonly [rows: number, columns: number];
}

const knownKeys = ['hidden', 'depth', 'heads', 'mlp', 'codebookSize', 'numClasses', 'grid', 'embeddingDeviation'];

/**
 * Checks a configuration and fills in defaults.
 *
 * @throws OptionError for an unknown key or a value out of its range.
 */
export function resolveMaskTransformer(
  config: MaskTransformerConfig,
  where = 'transformer',
): ResolvedMaskTransformerConfig {
  const given = requireObject(config, where);
  refuseUnknownKeys(given, knownKeys, where);
  const integer = (key: string, maximum?: number) =>
    requireInteger(given[key], `${where}.${key}`, 1, undefined, maximum);
  const resolved = {
    hidden: integer('hidden', sizeLimits.width),
    depth: integer('depth', sizeLimits.blocks),
    heads: integer('heads'),
    mlp: integer('mlp'),
    codebookSize: integer('codebookSize'),
    numClasses: integer('numClasses'),
    grid: requireGrid(given['grid'], `${where}.grid`),
    embeddingDeviation: requireNumber(given['embeddingDeviation'], `${where}.embeddingDeviation`, 1),
  };
  if (resolved.hidden % resolved.heads !== 0)
    throw new OptionError(
      `${where}.hidden must be a multiple of ${where}.heads, got ${resolved.hidden} and ${resolved.heads}`,
    );
  return resolved;
}

/** Rows of the embedding table: codes, the mask token, the classes, "no class". */
export function vocabularySize({ codebookSize, numClasses }: ResolvedMaskTransformerConfig): number {
  return codebookSize + 1 + numClasses + 1;
}

/** Parameters that the original keeps outside the blocks; Di[M]O freezes them by default. */
export const embeddingParameters = ['tok_emb.weight', 'pos_emb', 'bias'] as const;

/** Every parameter under its name in the original state dict. Linear weights are [out, in]. */
export function transformerParameters(config: ResolvedMaskTransformerConfig): SpecTree {
  const { hidden, depth, mlp, grid } = config;
  const length = grid[0] * grid[1] + 1;
  const vocabulary = vocabularySize(config);
  const specs: Record<string, { dtype: 'float32'; shape: number[] }> = {};
  const add = (name: string, ...shape: number[]) => (specs[name] = { dtype: 'float32', shape });
  const layer = (name: string, out: number, inner?: number) => {
    add(`${name}.weight`, ...(inner === undefined ? [out] : [out, inner]));
    add(`${name}.bias`, out);
  };
  add('tok_emb.weight', vocabulary, hidden);
  add('pos_emb', 1, length, hidden);
  for (const index of [0, 4]) layer(`first_layer.${index}`, hidden);
  for (const index of [2, 6]) layer(`first_layer.${index}`, hidden, hidden);
  for (let block = 0; block < depth; block++) {
    const prefix = `transformer.layers.${block}`;
    layer(`${prefix}.0.norm`, hidden);
    add(`${prefix}.0.fn.mha.in_proj_weight`, 3 * hidden, hidden);
    add(`${prefix}.0.fn.mha.in_proj_bias`, 3 * hidden);
    layer(`${prefix}.0.fn.mha.out_proj`, hidden, hidden);
    layer(`${prefix}.1.norm`, hidden);
    layer(`${prefix}.1.fn.net.0`, mlp, hidden);
    layer(`${prefix}.1.fn.net.3`, hidden, mlp);
  }
  layer('last_layer.0', hidden);
  layer('last_layer.2', hidden, hidden);
  layer('last_layer.4', hidden);
  add('bias', length, vocabulary);
  return specs;
}

/**
 * First weights, distributed as the original's (PyTorch's defaults): embeddings N(0, embeddingDeviation^2), positions
 * N(0, 0.02^2), attention input projection Xavier uniform, other linear weights and biases uniform in +-1/sqrt(in),
 * attention and output biases 0, norms 1 and 0.
 */
export function initializeTransformer(config: ResolvedMaskTransformerConfig, random: RandomStream): HostTree {
  const specs = transformerParameters(config);
  const uniform = (name: string, bound: number, size: number) =>
    random
      .fork(name)
      .uniform(size)
      .map((value) => (2 * value - 1) * bound);
  const normal = (name: string, deviation: number, size: number) =>
    random
      .fork(name)
      .normal(size)
      .map((value) => value * deviation);
  const values = (name: string, shape: readonly number[]): Float32Array => {
    const size = sizeOf(shape);
    if (name === 'tok_emb.weight') return normal(name, config.embeddingDeviation, size);
    if (name === 'pos_emb') return normal(name, 0.02, size);
    if (name === 'bias' || (name.includes('.mha.') && name.endsWith('bias'))) return new Float32Array(size);
    if (name.endsWith('in_proj_weight')) return uniform(name, Math.sqrt(6 / (shape[0]! + shape[1]!)), size);
    const weight = specs[name.replace(/bias$/, 'weight')]!.shape;
    const isNorm = weight.length === 1;
    if (isNorm) return new Float32Array(size).fill(name.endsWith('weight') ? 1 : 0);
    return uniform(name, 1 / Math.sqrt(weight[1]!), size);
  };
  return Object.fromEntries(
    Object.entries(specs).map(([name, { shape }]) => [name, float32(shape, values(name, shape))]),
  );
}
