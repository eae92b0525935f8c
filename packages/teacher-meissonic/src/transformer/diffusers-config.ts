/** The transformer's `config.json` in the public release. */
import { describeValue, OptionError, requireInteger, requireObject } from '@dimo/core';
import { resolveTransformer, widthOf, type ResolvedTransformerConfig } from './config.js';
import type { TimestepMode } from './timestep.js';

/** What that file does not say. */
export interface DiffusersTransformerOptions {
  /** Token grid; 64 x 64 for 1024 pixels. */
  readonly grid: number | readonly [rows: number, columns: number];
  /** @default 77 */
  readonly textLength?: number;
  /** @default 'official' */
  readonly timestepMode?: TimestepMode;
}

/**
 * Size of a transformer from its `config.json`. Keys without an effect in the original (`patch_size`, `in_channels`,
 * `guidance_embeds`) are ignored; absent codebook, vocabulary and rotations are those of the original's class.
 *
 * @param config - parsed JSON.
 * @throws OptionError for a missing or wrong value, or a combination that the original cannot run either.
 */
export function transformerOfDiffusers(
  config: unknown,
  options: DiffusersTransformerOptions,
  where = 'transformer/config.json',
): ResolvedTransformerConfig {
  const given = requireObject(config, where);
  const integer = (key: string, minimum = 1, fallback?: number) =>
    requireInteger(given[key], `${where}: ${key}`, minimum, fallback);
  const flag = (key: string): boolean => {
    const value = given[key] ?? false;
    if (typeof value !== 'boolean')
      throw new OptionError(`${where}: ${key} must be true or false, got ${describeValue(value)}`);
    return value;
  };
  const downsample = flag('downsample');
  if (flag('upsample') !== downsample)
    throw new OptionError(`${where}: downsample and upsample must both be true or both false`);
  const axes = given['axes_dims_rope'] ?? [16, 56, 56];
  if (!Array.isArray(axes) || axes.length !== 3)
    throw new OptionError(`${where}: axes_dims_rope must be three numbers, got ${describeValue(axes)}`);
  const resolved = resolveTransformer(
    {
      codebookSize: integer('codebook_size', 1, 8192),
      vocabularySize: integer('vocab_size', 1, 8256),
      heads: integer('num_attention_heads'),
      headWidth: integer('attention_head_dim'),
      jointBlocks: integer('num_layers', 0),
      singleBlocks: integer('num_single_layers', 0),
      textWidth: integer('joint_attention_dim'),
      rotaryAxes: axes as [number, number, number],
      downsample,
      ...options,
    },
    where,
  );
  const pooled = integer('pooled_projection_dim');
  if (pooled !== widthOf(resolved))
    throw new OptionError(
      `${where}: pooled_projection_dim must be the width ${widthOf(resolved)} (num_attention_heads * attention_head_dim), got ${pooled}`,
    );
  return resolved;
}
