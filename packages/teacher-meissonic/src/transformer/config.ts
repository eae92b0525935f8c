/** Size of a Meissonic transformer. */
import {
  describeValue,
  OptionError,
  refuseUnknownKeys,
  requireGrid,
  requireInteger,
  requireObject,
  sizeLimits,
} from '@dimo/core';
import { timestepModes, type TimestepMode } from './timestep.js';

/** Size of a Meissonic transformer. The released one: 8192, 8256, 64, 8, 128, 14, 28, 1024, 77, [16, 56, 56], true. */
export interface MultimodalTransformerConfig {
  /** K, number of codes of the VQ-VAE; as many logits. */
  readonly codebookSize: number;
  /** Rows of the embedding table; the last one is the mask token. @default codebookSize + 1 */
  readonly vocabularySize?: number;
  /** Token grid: n for [n, n]; even numbers if `downsample`. */
  readonly grid: number | readonly [rows: number, columns: number];
  /** Attention heads. */
  readonly heads: number;
  /** Width of a head, even; the width D of the transformer is heads * headWidth. */
  readonly headWidth: number;
  /** Number of two-stream blocks, >= 0. */
  readonly jointBlocks: number;
  /** Number of blocks on text and image together, >= 0. */
  readonly singleBlocks: number;
  /** Width of the text states. (That of the pooled text is D.) */
  readonly textWidth: number;
  /** Number of text states. @default 77 */
  readonly textLength?: number;
  /**
   * Channels of a head that rotate with each of three positions (always 0, row, column); even numbers whose sum is
   * headWidth.
   */
  readonly rotaryAxes: readonly [unused: number, row: number, column: number];
  /** Whether the blocks work on a grid of half the side, every 2 x 2 tokens as one. @default true */
  readonly downsample?: boolean;
  /** Which timestep the model is told. @default 'official' */
  readonly timestepMode?: TimestepMode;
}

/** `MultimodalTransformerConfig` with every default filled in. */
export interface ResolvedTransformerConfig extends Required<MultimodalTransformerConfig> {
  readonly grid: readonly [rows: number, columns: number];
}

const knownKeys = [
  'codebookSize',
  'vocabularySize',
  'grid',
  'heads',
  'headWidth',
  'jointBlocks',
  'singleBlocks',
  'textWidth',
  'textLength',
  'rotaryAxes',
  'downsample',
  'timestepMode',
];

/**
 * Checks a configuration and fills in defaults.
 *
 * @throws OptionError for an unknown key or a value out of its range.
 */
export function resolveTransformer(
  config: MultimodalTransformerConfig,
  where = 'transformer',
): ResolvedTransformerConfig {
  const given = requireObject(config, where);
  refuseUnknownKeys(given, knownKeys, where);
  const integer = (key: string, minimum = 1, fallback?: number, maximum?: number) =>
    requireInteger(given[key], `${where}.${key}`, minimum, fallback, maximum);
  const codebookSize = integer('codebookSize');
  const resolved: ResolvedTransformerConfig = {
    codebookSize,
    vocabularySize: integer('vocabularySize', codebookSize + 1, codebookSize + 1),
    grid: requireGrid(given['grid'], `${where}.grid`),
    heads: integer('heads', 1, undefined, sizeLimits.width),
    headWidth: integer('headWidth', 2, undefined, sizeLimits.headWidth),
    jointBlocks: integer('jointBlocks', 0, undefined, sizeLimits.blocks),
    singleBlocks: integer('singleBlocks', 0, undefined, sizeLimits.blocks),
    textWidth: integer('textWidth'),
    textLength: integer('textLength', 1, 77, sizeLimits.tokens),
    rotaryAxes: rotaryAxesOf(given['rotaryAxes'], `${where}.rotaryAxes`),
    downsample: (given['downsample'] ?? true) as boolean,
    timestepMode: (given['timestepMode'] ?? 'official') as TimestepMode,
  };
  if (widthOf(resolved) > sizeLimits.width)
    throw new OptionError(
      `${where}: heads times headWidth may be at most ${sizeLimits.width}, got ${widthOf(resolved)}`,
    );
  if (resolved.textLength * resolved.textWidth > sizeLimits.conditionNumbers)
    throw new OptionError(
      `${where}: textLength ${resolved.textLength} times textWidth ${resolved.textWidth} may be at most ${sizeLimits.conditionNumbers}`,
    );
  const { downsample, grid, headWidth, rotaryAxes, timestepMode } = resolved;
  if (typeof downsample !== 'boolean')
    throw new OptionError(`${where}.downsample must be true or false, got ${describeValue(downsample)}`);
  if (!timestepModes.includes(timestepMode))
    throw new OptionError(
      `${where}.timestepMode must be one of ${timestepModes.join(', ')}, got ${describeValue(timestepMode)}`,
    );
  if (downsample && grid.some((side) => side % 2 !== 0))
    throw new OptionError(
      `${where}.grid must be even with ${where}.downsample, got ${describeValue(grid)}; choose another grid or downsample: false`,
    );
  if (rotaryAxes[0] + rotaryAxes[1] + rotaryAxes[2] !== headWidth)
    throw new OptionError(
      `${where}.rotaryAxes must add up to ${where}.headWidth ${headWidth}, got ${describeValue(rotaryAxes)}`,
    );
  return resolved;
}

function rotaryAxesOf(value: unknown, where: string): [number, number, number] {
  if (!Array.isArray(value) || value.length !== 3)
    throw new OptionError(`${where} must be three even numbers, got ${describeValue(value)}`);
  const axes = value.map((axis, i) => requireInteger(axis, `${where}[${i}]`, 0));
  if (axes.some((axis) => axis % 2 !== 0))
    throw new OptionError(`${where} must be three even numbers, got ${describeValue(value)}`);
  return axes as [number, number, number];
}

/** D, width of embeddings and activations. */
export function widthOf({ heads, headWidth }: Pick<ResolvedTransformerConfig, 'heads' | 'headWidth'>): number {
  return heads * headWidth;
}

/** Grid that the blocks work on. */
export function blockGrid({ grid, downsample }: ResolvedTransformerConfig): readonly [rows: number, columns: number] {
  return downsample ? [grid[0] / 2, grid[1] / 2] : grid;
}
