/** Size of a CLIP text encoder: options in the words of its `config.json`, and parameter names and shapes. */
import {
  describeValue,
  OptionError,
  parameterList,
  requireInteger,
  requireNumber,
  requireObject,
  sizeLimits,
  type SpecTree,
} from '@dimo/core';

/** The `config.json` of a `CLIPTextModelWithProjection`. Keys that do not change the numbers are allowed and ignored. */
export interface ClipTextConfig {
  /** @default 49408 */
  readonly vocab_size?: number;
  /** @default 512 */
  readonly hidden_size?: number;
  /** Width of the MLPs. @default 2048 */
  readonly intermediate_size?: number;
  /** Width of the pooled text. @default 512 */
  readonly projection_dim?: number;
  /** @default 12 */
  readonly num_hidden_layers?: number;
  /** Divides `hidden_size`. @default 8 */
  readonly num_attention_heads?: number;
  /** Longest text in tokens, start and end included. @default 77 */
  readonly max_position_embeddings?: number;
  /** `gelu`: exact, with erf. `quick_gelu`: x sigmoid(1.702 x). @default 'quick_gelu' */
  readonly hidden_act?: 'gelu' | 'quick_gelu';
  /** @default 1e-5 */
  readonly layer_norm_eps?: number;
  /**
   * Token at whose first position the pooled text is taken. 2, which old files say wrongly, means: at the first position
   * of the largest id. @default 49407
   */
  readonly eos_token_id?: number;
}

/** `ClipTextConfig` with every default filled in. */
export type ResolvedClipTextConfig = Required<ClipTextConfig>;

/** Checks a configuration and fills in the defaults of transformers. @throws OptionError */
export function resolveClipText(config: ClipTextConfig, where = 'text_encoder'): ResolvedClipTextConfig {
  const given = requireObject(config, where);
  const integer = (key: keyof ClipTextConfig, fallback: number, minimum = 1, maximum?: number) =>
    requireInteger(given[key], `${where}.${key}`, minimum, fallback, maximum);
  const hidden_act = given['hidden_act'] ?? 'quick_gelu';
  if (hidden_act !== 'gelu' && hidden_act !== 'quick_gelu')
    throw new OptionError(`${where}.hidden_act must be "gelu" or "quick_gelu", got ${describeValue(hidden_act)}`);
  const hidden_size = integer('hidden_size', 512);
  const num_attention_heads = integer('num_attention_heads', 8);
  if (hidden_size % num_attention_heads !== 0)
    throw new OptionError(
      `${where}.hidden_size must be a multiple of ${num_attention_heads} heads (num_attention_heads), got ${hidden_size}`,
    );
  const max_position_embeddings = integer('max_position_embeddings', 77, 1, sizeLimits.tokens);
  if (max_position_embeddings * hidden_size > sizeLimits.conditionNumbers)
    throw new OptionError(
      `${where}: max_position_embeddings ${max_position_embeddings} times hidden_size ${hidden_size} may be at most ${sizeLimits.conditionNumbers}`,
    );
  return {
    vocab_size: integer('vocab_size', 49408),
    hidden_size,
    intermediate_size: integer('intermediate_size', 2048),
    projection_dim: integer('projection_dim', 512, 1, sizeLimits.width),
    num_hidden_layers: integer('num_hidden_layers', 12, 1, sizeLimits.blocks),
    num_attention_heads,
    max_position_embeddings,
    hidden_act,
    layer_norm_eps: requireNumber(given['layer_norm_eps'], `${where}.layer_norm_eps`, 1e-5, 1),
    eos_token_id: integer('eos_token_id', 49407, 0),
  };
}

/** Prefix of the parameters of layer `index`. */
export function layerName(index: number): string {
  return `text_model.encoder.layers.${index}`;
}

/** Every parameter under its name in the original state dict. */
export function clipTextParameters(config: ResolvedClipTextConfig): SpecTree {
  const { hidden_size: width } = config;
  const list = parameterList();
  list.tensor('text_model.embeddings.token_embedding.weight', config.vocab_size, width);
  list.tensor('text_model.embeddings.position_embedding.weight', config.max_position_embeddings, width);
  for (let index = 0; index < config.num_hidden_layers; index++) {
    const name = layerName(index);
    list.norm(`${name}.layer_norm1`, width);
    for (const part of ['q', 'k', 'v', 'out']) list.linear(`${name}.self_attn.${part}_proj`, width, width);
    list.norm(`${name}.layer_norm2`, width);
    list.linear(`${name}.mlp.fc1`, config.intermediate_size, width);
    list.linear(`${name}.mlp.fc2`, width, config.intermediate_size);
  }
  list.norm('text_model.final_layer_norm', width);
  list.tensor('text_projection.weight', config.projection_dim, width);
  return list.specs;
}
