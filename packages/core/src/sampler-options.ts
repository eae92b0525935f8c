/** Settings of samplers, plain data: what a teacher may give as its own and a user may change. */
import type { UnmaskingSchedule } from './schedule.js';

/** How tokens are drawn. */
export interface SamplingOptions {
  /** Divides the logits, > 0. @default 1 */
  readonly temperature?: number;
  /** Only the k most probable ids; 0 for all. @default 0 */
  readonly topK?: number;
  /**
   * Only the most probable ids up to this probability mass, the one that crosses it included; 0 for all. Applied to
   * what top-k leaves. @default 0
   */
  readonly topP?: number;
  /**
   * How an id is chosen. `inverse-cdf`: one uniform number per position inverts the cumulative distribution.
   * `exponential-race`: one standard exponential number E per position and id, argmax(p / E), which is what PyTorch's
   * `multinomial` does and the same as Gumbel-max; for replaying its draws, because it needs V times the numbers.
   * @default 'inverse-cdf'
   */
  readonly method?: 'inverse-cdf' | 'exponential-race';
  /**
   * The original's behaviour: ids that the decoder does not know, such as the mask token, can be drawn where the model
   * has logits for them. @default false
   */
  readonly reference?: boolean;
}

/** Settings of the multi-step sampler. */
export interface MultiStepOptions extends SamplingOptions {
  /** T, number of forward passes, >= 1. @default 16 */
  readonly numSteps?: number;
  /** How many tokens each step decides. @default 'arccos' */
  readonly schedule?: UnmaskingSchedule;
  /** Guidance scale of the last step; 1 = off. @default 1 */
  readonly guidanceScale?: number;
  /** `linear`: from 1 at the first step to `guidanceScale` at the last. `constant`: always. @default 'linear' */
  readonly guidanceRamp?: 'linear' | 'constant';
  /**
   * `linear`: log-probability of the drawn token plus Gumbel noise times the choice temperature of the step.
   * `warm-up`: uniformly random in the first two steps, then the probability. `random`: always uniformly random.
   * @default 'linear'
   */
  readonly confidence?: 'linear' | 'warm-up' | 'random';
  /** Gumbel noise on the confidences at the first step, >= 0. @default 4.5 */
  readonly choiceTemperature?: number;
  /** The same at the last step, >= 0; linear in between. @default 0 */
  readonly finalChoiceTemperature?: number;
}

/** `MultiStepOptions` with defaults filled in. */
export type ResolvedMultiStepOptions = Required<MultiStepOptions>;
