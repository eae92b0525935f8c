/** The `config.json` of a released transformer, in diffusers' words, as the size of ours. */
import {
  describeValue,
  OptionError,
  requireInteger,
  requireIntegers,
  requireObject,
  type PlainObject,
} from '@dimo/core';
import {
  resolveTransformer,
  type MultimodalTransformerConfig,
  type ResolvedTransformerConfig,
} from '../transformer/config.js';

/** What `config.json` does not say. */
export type TransformerConfigOptions = Pick<MultimodalTransformerConfig, 'grid' | 'textLength' | 'timestepMode'>;

/**
 * Size of a released transformer. Keys that have no effect in the original (`patch_size`, `in_channels`,
 * `guidance_embeds`) are ignored.
 *
 * @param value - parsed JSON.
 * @param where - the file, for messages.
 * @throws OptionError naming the key that is missing, wrong, or asks for a variant that the original cannot run either.
 */
export function releasedTransformerConfig(
  value: unknown,
  where: string,
  options: TransformerConfigOptions,
): ResolvedTransformerConfig {
  const given = requireObject(value, where);
  const integer = (key: string, minimum = 1) => requireInteger(given[key], `${where}: ${key}`, minimum);
  const heads = integer('num_attention_heads');
  const headWidth = integer('attention_head_dim');
  const pooled = integer('pooled_projection_dim');
  if (pooled !== heads * headWidth)
    throw new OptionError(
      `${where}: pooled_projection_dim must be the width ${heads * headWidth} (num_attention_heads * attention_head_dim), got ${pooled}`,
    );
  const downsample = flag(given, 'downsample', where);
  if (flag(given, 'upsample', where) !== downsample)
    throw new OptionError(`${where}: downsample and upsample must both be true or both false`);
  const axes = requireIntegers(given['axes_dims_rope'], `${where}: axes_dims_rope`, []);
  return resolveTransformer(
    {
      codebookSize: integer('codebook_size'),
      vocabularySize: integer('vocab_size'),
      heads,
      headWidth,
      jointBlocks: integer('num_layers', 0),
      singleBlocks: integer('num_single_layers', 0),
      textWidth: integer('joint_attention_dim'),
      rotaryAxes: axes as unknown as readonly [number, number, number], // checked by resolveTransformer
      downsample,
      ...options,
    },
    where,
  );
}

function flag(given: PlainObject, key: string, where: string): boolean {
  const value = given[key] ?? false;
  if (typeof value !== 'boolean')
    throw new OptionError(`${where}: ${key} must be true or false, got ${describeValue(value)}`);
  return value;
}
