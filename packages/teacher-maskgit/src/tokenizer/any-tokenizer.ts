/** Tokenizers by configuration. */
import { describeValue, OptionError, requireObject, type PlainObject } from '@dimo/core';
import { vqganTokenizer } from '../vqgan/vqgan.js';
import { resolveVqgan, type VqganConfig } from '../vqgan/config.js';
import { patchVqTokenizer, resolvePatchVq, type PatchVqConfig } from './patch-vq.js';
import type { Tokenizer } from './tokenizer.js';

/** Kind and size of a tokenizer; the other keys are those of the kind. */
export type TokenizerConfig =
  ({ readonly kind: 'patch-vq' } & PatchVqConfig) | ({ readonly kind: 'vqgan' } & VqganConfig);

/** A tokenizer with the complete configuration that makes it again. */
export interface DefinedTokenizer {
  readonly tokenizer: Tokenizer;
  readonly config: PlainObject;
}

/**
 * Makes a tokenizer from plain JSON, `{ "kind": "patch-vq" | "vqgan", ... }`.
 *
 * @throws OptionError for an unknown kind or key, or a value out of its range.
 */
export function defineTokenizer(config: TokenizerConfig | PlainObject, where = 'tokenizer'): DefinedTokenizer {
  const given = requireObject(config, where);
  const kind = given['kind'];
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
