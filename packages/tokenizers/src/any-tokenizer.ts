/** Tokenizers by configuration. */
import { describeValue, OptionError, requireObject, type PlainObject } from '@dimo/core';
import { vqganTokenizer } from './vqgan/vqgan.js';
import { resolveVqgan, type VqganConfig } from './vqgan/config.js';
import { patchVqTokenizer, resolvePatchVq, type PatchVqConfig } from './patch-vq.js';
import type { Tokenizer } from './tokenizer.js';

/** Kind and size of a tokenizer; the other keys are those of the kind. */
export type TokenizerConfig =
  ({ readonly kind: 'patch-vq' } & PatchVqConfig) | ({ readonly kind: 'vqgan' } & VqganConfig);

/** Kind of a tokenizer that names none. */
const defaultTokenizerKind = 'patch-vq';

/** A tokenizer with the complete configuration that makes it again. */
export interface DefinedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly config: PlainObject;
}

/**
 * Makes a tokenizer from plain JSON, `{ "kind": "patch-vq" | "vqgan", ... }`; without a kind it is patch-VQ.
 *
 * @throws OptionError for an unknown kind or key, or a value out of its range.
 */
export function defineTokenizer(config: TokenizerConfig | PlainObject, where = 'tokenizer'): DefinedTokenizer {
  const given = requireObject(config, where);
  const kind = given['kind'] ?? defaultTokenizerKind;
  switch (kind) {
    case 'patch-vq': {
      const resolved = resolvePatchVq(given, where);
      return { tokenizer: patchVqTokenizer(resolved), config: { kind, ...resolved } };
    }
    case 'vqgan': {
      const resolved = resolveVqgan(given as unknown as VqganConfig, where);
      return { tokenizer: vqganTokenizer(resolved), config: { kind, ...resolved } };
    }
    default:
      throw new OptionError(`${where}.kind must be "patch-vq" or "vqgan", got ${describeValue(kind)}`);
  }
}

/**
 * The configuration of a tokenizer for the images of a dataset: what it does not say about their size is theirs.
 *
 * @param imageShape - [height, width, channels].
 * @throws OptionError if it is no configuration.
 */
export function tokenizerConfigFor(
  config: PlainObject,
  imageShape: readonly [height: number, width: number, channels: number],
  where = 'tokenizer',
): PlainObject {
  const [height, width, channels] = imageShape;
  const kind = config['kind'] ?? defaultTokenizerKind;
  if (kind === 'patch-vq') return { imageShape, ...config };
  if (kind !== 'vqgan') return config;
  const network = requireObject(config['ddconfig'] ?? {}, `${where}.ddconfig`);
  return {
    imageSize: [height, width],
    ...config,
    ddconfig: { resolution: Math.max(height, width), in_channels: channels, out_ch: channels, ...network },
  };
}
