/**
 * Token initialization of the one-step generator (Di[M]O, arXiv 2503.15457, section 4.2): random codes, a fraction of
 * them replaced by the mask token, and a Gaussian perturbation of the token embeddings.
 */
import { OptionError } from '../errors.js';
import { chooseMasked, maskTokens, numMasked } from '../model/masking.js';
import { type MaskedDiffusionModel } from '../model/model.js';
import { embeddingNoiseScale, type EmbeddingNoiseSchedule } from '../model/schedule.js';
import type { HostTensor, HostTree } from '../tensors/tensors.js';
import { sequenceLength, type TokenSpace } from '../model/token-space.js';

/** Fraction of masked positions in the generator's input: one number, or drawn per step from a range. */
export type InitialMaskRatio = number | readonly [from: number, to: number];

/** Token initialization. */
export interface TokenInit {
  /** r_init, in [0, 1]; a range draws one ratio per step, shared by all samples of the step. @default 0.6 */
  readonly maskRatio?: InitialMaskRatio;
  /** Scale of the embedding perturbation, a number or a schedule over training steps. @default 0.1 */
  readonly embeddingNoise?: number | EmbeddingNoiseSchedule;
  /**
   * What the scale is relative to: `unit`, standard normal noise as in the official code, or `embedding-rms`, noise
   * with the root mean square of the token embeddings, for models whose embeddings are small. @default 'embedding-rms'
   */
  readonly noiseUnit?: 'unit' | 'embedding-rms';
}

/** `TokenInit` with defaults filled in. */
export interface ResolvedTokenInit {
  readonly maskRatio: InitialMaskRatio;
  readonly embeddingNoise: EmbeddingNoiseSchedule;
  readonly noiseUnit: 'unit' | 'embedding-rms';
}

/**
 * Fills in defaults.
 *
 * @throws OptionError for a value out of its range.
 */
export function resolveTokenInit(init: TokenInit = {}, where = 'tokenInit'): ResolvedTokenInit {
  const { maskRatio = 0.6, embeddingNoise = 0.1, noiseUnit = 'embedding-rms' } = init;
  const bounds = typeof maskRatio === 'number' ? [maskRatio, maskRatio] : maskRatio;
  if (
    !Array.isArray(bounds) ||
    bounds.length !== 2 ||
    !bounds.every((ratio) => ratio >= 0 && ratio <= 1) ||
    bounds[0]! > bounds[1]!
  )
    throw new OptionError(
      `${where}.maskRatio must be a number in [0, 1] or a range [from, to] in it, got ${JSON.stringify(maskRatio)}`,
    );
  const noise = typeof embeddingNoise === 'number' ? { scale: embeddingNoise } : embeddingNoise;
  if (!(noise?.scale >= 0 && noise.scale <= 1))
    throw new OptionError(`${where}.embeddingNoise must be a scale in [0, 1], got ${String(noise?.scale)}`);
  if (noise.kind !== undefined && noise.kind !== 'fixed' && !((noise.warmupSteps ?? 0) > 0))
    throw new OptionError(
      `${where}.embeddingNoise.warmupSteps must be positive for the warm-up "${noise.kind}", got ${String(noise.warmupSteps)}`,
    );
  embeddingNoiseScale(noise, 0);
  if (noiseUnit !== 'unit' && noiseUnit !== 'embedding-rms')
    throw new OptionError(`${where}.noiseUnit must be "unit" or "embedding-rms", got ${String(noiseUnit)}`);
  return { maskRatio, embeddingNoise: noise, noiseUnit };
}

/** Checks initial tokens. @throws OptionError if one is neither a code nor the mask token */
export function checkInitialTokens(tokens: HostTensor<'int32'>, space: TokenSpace, where: string): void {
  const { codebookSize, maskTokenId } = space;
  const wrong = tokens.data.find((token) => token !== maskTokenId && !(token >= 0 && token < codebookSize));
  if (wrong !== undefined)
    throw new OptionError(
      `${where}: initialTokens must be in [0, ${codebookSize}) or the mask token ${maskTokenId}, got ${wrong}`,
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
