/**
 * The slot of multi-step samplers. A sampler is one loop over `denoise`: a forward pass over the tokens as they stand, from
 * which it decides on the host which positions get their token, and which are masked again. Nothing else of the sampler
 * runs on the device, so every sampler runs on every engine.
 */
import { z } from 'zod';
import { sizeLimits } from '../options/check-options.js';
import { finite, whole } from '../options/fields.js';
import type { SamplingPlan } from './plan.js';
import type { SamplerRandom } from './sampler-random.js';

export { tokenOptions } from '../model/sampler-options.js';

/** Numbers of a pass that cost device work or transfers, so that a sampler names those that it needs. */
export type PassStatistic =
  /** Of the drawn token, at every position. */
  | 'logProbabilities'
  /** Entropy of the guided model's distribution at every position, before temperature, top-k and top-p; nats. */
  | 'entropies'
  /** Probability of the most probable id at every position, of the guided model too. */
  | 'largestProbabilities'
  /** All probabilities of every position. */
  | 'probabilities';

/** What a sampler asks of a pass. */
export interface PassRequest {
  /** Classifier-free guidance scale; 1 runs the conditional pass alone. @default 1 */
  readonly guidanceScale?: number;
  /** Steps that will follow, for models that are conditioned on it. @default unknown: they see the mask ratio */
  readonly stepsLeft?: number;
  /** @default none */
  readonly statistics?: readonly PassStatistic[];
}

/** Result of a pass; position i of sample b is at b * L + i. Only what was asked for is there, and `tokens`. */
export interface Pass {
  /** A token drawn at every position, [batch * L]; what it says of decided positions is not to be used. */
  readonly tokens: Int32Array;
  /** Value of a statistic at a position. @throws DimoError with code `internal` if it was not asked for. */
  readonly logProbabilities: Float32Array;
  readonly entropies: Float32Array;
  readonly largestProbabilities: Float32Array;
  /** [batch * L * K], 0 for ids that are excluded by top-k, top-p or the decoder. */
  readonly probabilities: Float32Array;
}

/** What a sampler works with. */
export interface SamplerRun<Options> {
  readonly options: Options;
  readonly plan: SamplingPlan;
  /** The model's distribution of each masked token, guided and at the temperature asked for, with one token drawn from it. */
  denoise(request?: PassRequest): Promise<Pass>;
  readonly random: SamplerRandom;
}

/** Options of samplers with a fixed number of steps. */
export const stepOptions = {
  numSteps: whole(1, sizeLimits.samplerSteps).default(16).describe('Steps.'),
  guidanceScale: finite().default(1).describe('Classifier-free guidance scale of the last step; 1: off.'),
  guidanceRamp: z
    .enum(['linear', 'constant'])
    .default('linear')
    .describe('linear: from 1 at the first step to guidanceScale at the last. constant: always guidanceScale.'),
};

/** Guidance scale of step i; a single step uses the full scale. */
export function guidanceScaleAt(
  options: { readonly numSteps: number; readonly guidanceScale: number; readonly guidanceRamp: 'linear' | 'constant' },
  i: number,
): number {
  const { guidanceScale, guidanceRamp, numSteps } = options;
  if (guidanceRamp === 'constant' || numSteps === 1) return guidanceScale;
  return 1 + (guidanceScale - 1) * (i / (numSteps - 1));
}

/** A multi-step sampler. */
export interface Sampler<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** One line: what it does, and its source. */
  readonly description: string;
  /** The options: types, ranges, defaults and sentences. Holds `tokenOptions`. */
  readonly options: S;
  /**
   * Most forward passes that a sample takes.
   *
   * @param numTokens - L.
   */
  maximumPasses(options: z.output<S>, numTokens: number): number;
  /**
   * Samples: decides every position of the plan. Yields at the end of each step with whatever else it has in mind for the
   * next one; there progress is told and a run may end early. What a sample gets depends on its own row alone.
   */
  run(run: SamplerRun<z.output<S>>): AsyncGenerator<unknown, void, void>;
}

/** A sampler, its type inferred from its options. */
export function defineSampler<S extends z.ZodObject>(sampler: Sampler<S>): Sampler<S> {
  return sampler;
}
