/** Random numbers of samplers: keyed by seed, sample, purpose and step, so that a batch size changes nothing. */
import { requireInteger } from '../options/check-options.js';
import { checkSpecTree } from '../engine/check-tensors.js';
import { OptionError, ShapeError } from '../errors.js';
import { randomStream, type RandomStream } from '../random/random.js';
import type { SamplingOptions } from '../model/sampler-options.js';
import { randomTokenDraws, tokenDrawSpec } from './drawing-tokens.js';
import { sizeOf } from '../tensors/tensors.js';
import { sequenceLength, type TokenSpace } from '../model/token-space.js';

/** Random numbers of one batch; the same arguments give the same numbers. */
export interface SamplerDraws {
  /** Of a forward pass, as `tokenDrawSpec` says, with a leading batch axis. */
  tokenDraws(pass: number): Float32Array;
  /** [batch * L], uniform in [0, 1). */
  uniform(purpose: string, step: number): ArrayLike<number>;
  /** [batch * L], standard Gumbel. */
  gumbel(step: number): ArrayLike<number>;
}

/** What a batch of draws is for. */
export interface SamplerDrawSize {
  readonly batchSize: number;
  readonly tokenSpace: TokenSpace;
  readonly sampling?: SamplingOptions;
}

/**
 * Draws from the counter-based generator. Sample `firstSample + b` depends on the seed and its own index alone, so that
 * the batch size changes nothing.
 */
export function randomMultiStepDraws(
  seed: number,
  firstSample: number,
  { batchSize, tokenSpace, sampling = {} }: SamplerDrawSize,
): SamplerDraws {
  requireInteger(batchSize, 'sampler: batchSize');
  // Checked now: the numbers themselves are drawn when a step needs them.
  randomStream(seed, firstSample, 'multi-step');
  checkSpecTree('sampler: draws', { tokens: { dtype: 'float32', shape: [batchSize, sequenceLength(tokenSpace)] } });
  const rows = (purpose: string, step: number, size: number, draw: (random: RandomStream) => Float32Array) => {
    const values = new Float32Array(batchSize * size);
    for (let b = 0; b < batchSize; b++)
      values.set(draw(randomStream(seed, firstSample + b, `multi-step/${purpose}/${step}`)), b * size);
    return values;
  };
  const length = sequenceLength(tokenSpace);
  const uniform = (purpose: string, step: number) => rows(purpose, step, length, (random) => random.uniform(length));
  const perSample = sizeOf(tokenDrawSpec(tokenSpace, sampling).shape);
  return {
    tokenDraws: (pass) => rows('tokens', pass, perSample, (random) => randomTokenDraws(random, perSample, sampling)),
    uniform,
    // A uniform of exactly 0 stands for the half of its cell, 2^-25.
    gumbel: (step) => Float64Array.from(uniform('gumbel', step), (u) => -Math.log(-Math.log(Math.max(u, 2 ** -25)))),
  };
}

/** Independent choices, one at each position. */
export interface Choices {
  /** True with probability p. Once a position. */
  chance(index: number, p: number): boolean;
  /**
   * k with a probability in proportion to weights[k]. Once a position.
   *
   * @param weights - >= 0, one of them > 0.
   */
  pick(index: number, weights: ArrayLike<number>): number;
}

/** What samplers draw from, by purpose and step. */
export interface SamplerRandom {
  /** Choices for a purpose in a step; those of another purpose or step are independent. */
  choices(purpose: string, step: number): Choices;
  /** A whole number in [0, count) for each sample. */
  wholeNumbers(purpose: string, count: number): readonly number[];
  /** [batch * L], uniform in [0, 1): for random orders. */
  uniform(purpose: string, step: number): ArrayLike<number>;
  /** [batch * L], standard Gumbel. */
  gumbel(step: number): ArrayLike<number>;
}

/** Choices by inverting cumulative distributions at the uniform numbers of a batch. */
export function samplerRandom(draws: SamplerDraws, batchSize: number, length: number): SamplerRandom {
  const uniform = (purpose: string, step: number): ArrayLike<number> => {
    // Streams of the token draws and of the Gumbel noise: a decision from them would depend on those.
    if (purpose === 'tokens' || purpose === 'gumbel')
      throw new OptionError(`sampler: the purpose "${purpose}" is taken; name the choice otherwise`);
    const values = draws.uniform(purpose, step);
    if (values.length !== batchSize * length)
      throw new ShapeError(
        `sampler: draws.uniform must give ${batchSize * length} numbers, got ${values.length} for "${purpose}" of step ${step}`,
      );
    return values;
  };
  return {
    choices(purpose, step) {
      const uniforms = uniform(purpose, step);
      return {
        chance: (index, p) => uniforms[index]! < p,
        pick(index, weights) {
          let total = 0;
          for (let k = 0; k < weights.length; k++) total += weights[k]!;
          const wanted = uniforms[index]! * total;
          let sum = 0;
          let last = 0;
          for (let k = 0; k < weights.length; k++) {
            if (weights[k]! === 0) continue;
            sum += weights[k]!;
            last = k;
            if (wanted < sum) break;
          }
          return last;
        },
      };
    },
    wholeNumbers(purpose, count) {
      const uniforms = uniform(purpose, 0);
      return Array.from({ length: batchSize }, (_, b) => Math.floor(uniforms[b * length]! * count));
    },
    uniform,
    gumbel: (step) => draws.gumbel(step),
  };
}
