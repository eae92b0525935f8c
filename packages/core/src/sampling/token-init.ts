/**
 * Token initialization of the one-step generator (Di[M]O, arXiv 2503.15457, section 4.2): random codes, a fraction of
 * them replaced by the mask token, and a Gaussian perturbation of the token embeddings.
 */
import { z } from 'zod';
import { OptionError } from '../errors.js';
import { finite, sectionOrNumber } from '../options/fields.js';
import type { GivenOptions, ResolvedOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';
import { embeddingNoiseOptions } from '../options/training-fields.js';
import { chooseMasked, maskTokens, numMasked } from '../model/masking.js';
import { type MaskedDiffusionModel } from '../model/model.js';
import type { HostTensor, HostTree } from '../tensors/tensors.js';
import { sequenceLength, type TokenSpace } from '../model/token-space.js';

/** Fraction of masked positions in the generator's input: one number, or drawn per step from a range. */
export type InitialMaskRatio = number | readonly [from: number, to: number];

/** Options of the token initialization. */
export const tokenInitOptions = {
  /** A range draws one ratio per step, shared by all samples of the step. */
  maskRatio: z
    .union([finite(0, 1), z.tuple([finite(0, 1), finite(0, 1)])])
    .default(0.6)
    .describe('r_init: fraction of masked tokens in the generator input; a pair [from, to] draws one per step.'),
  /** A scale, or its course over training steps. */
  embeddingNoise: sectionOrNumber(embeddingNoiseOptions, 'scale').describe(
    'Perturbation of the token embeddings of the generator input: a section, or a plain number for a fixed scale.',
  ),
  /** `embedding-rms` is for models whose embeddings are small. */
  noiseUnit: z
    .enum(['unit', 'embedding-rms'])
    .default('embedding-rms')
    .describe('What sigma is relative to: standard normal noise (official code), or the rms of the embeddings.'),
};

const schema = z.strictObject(tokenInitOptions);

/** Token initialization. */
export type TokenInit = GivenOptions<typeof tokenInitOptions>;

/** `TokenInit` with defaults filled in. */
export type ResolvedTokenInit = ResolvedOptions<typeof tokenInitOptions>;

/**
 * Fills in defaults.
 *
 * @throws OptionError for a value out of its range.
 */
export function resolveTokenInit(init: TokenInit = {}, where = 'tokenInit'): ResolvedTokenInit {
  const resolved = parseOptions(schema, init, where);
  const { maskRatio, embeddingNoise } = resolved;
  if (typeof maskRatio !== 'number' && maskRatio[0] > maskRatio[1])
    throw new OptionError(
      `${where}.maskRatio must be a number in [0, 1] or a range [from, to] in it, got ${JSON.stringify(maskRatio)}`,
    );
  if (embeddingNoise.kind !== 'fixed' && embeddingNoise.warmupSteps === undefined)
    throw new OptionError(
      `${where}.embeddingNoise.warmupSteps must be an integer >= 1 for the warm-up "${embeddingNoise.kind}", got nothing`,
    );
  return resolved;
}

/** Checks initial tokens. @throws OptionError if one is neither a code nor the mask token */
export function checkInitialTokens(
  tokens: HostTensor<'int32'>,
  space: TokenSpace,
  where: string,
  name = 'initialTokens',
): void {
  const { codebookSize, maskTokenId } = space;
  const wrong = tokens.data.find((token) => token !== maskTokenId && !(token >= 0 && token < codebookSize));
  if (wrong !== undefined)
    throw new OptionError(
      `${where}: ${name} must be in [0, ${codebookSize}) or the mask token ${maskTokenId}, got ${wrong}`,
    );
}

/** Initial mask ratio of a step from a uniform number in [0, 1). */
export function initialMaskRatio(maskRatio: InitialMaskRatio, uniform: number): number {
  return typeof maskRatio === 'number' ? maskRatio : maskRatio[0] + (maskRatio[1] - maskRatio[0]) * uniform;
}

/** Random numbers behind a batch of initial tokens. */
export interface InitialTokenDraws {
  /** int32 [batch, L], uniform in [0, codebookSize). */
  readonly codes: HostTensor<'int32'>;
  /** float32 [batch, L], the order in which positions are masked. */
  readonly maskUniforms: HostTensor<'float32'>;
}

/**
 * Initial tokens of the generator, int32 [batch, L]: exactly max(1, round(L * maskRatio)) positions of each row hold the
 * mask token.
 */
export function initialTokens(draws: InitialTokenDraws, maskRatio: number, space: TokenSpace): HostTensor<'int32'> {
  const count = numMasked(sequenceLength(space), maskRatio);
  const counts = new Array<number>(draws.codes.shape[0]!).fill(count);
  return maskTokens(draws.codes, chooseMasked(draws.maskUniforms, counts), space.maskTokenId);
}

/**
 * Root mean square of the token embeddings: what the model says, or that of the first of `model.embeddingParameters` that is a table of rows of
 * `embeddingWidth` and has at least one row per code.
 *
 * @throws OptionError if the model has no such parameter.
 */
export function embeddingRms(model: MaskedDiffusionModel, weights: HostTree): number {
  if (model.embeddingRms) return model.embeddingRms(weights);
  const name = model.embeddingParameters.find((candidate) => {
    const shape = model.parameters[candidate]?.shape;
    return shape?.length === 2 && shape[1] === model.embeddingWidth && shape[0]! >= model.tokenSpace.codebookSize;
  });
  const table = name === undefined ? undefined : weights[name];
  if (!table)
    throw new OptionError(
      `tokenInit.noiseUnit "embedding-rms": model "${model.name}" lists no token embedding table in embeddingParameters; use "unit"`,
    );
  let sum = 0;
  for (const value of table.data) sum += value * value;
  return Math.sqrt(sum / table.data.length);
}
