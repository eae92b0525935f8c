/** Settings of samplers, plain data: what a teacher may give as its own and a user may change. */
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

/**
 * A multi-step sampler and its options, flat: `{ name: 'halton', numSteps: 8 }`. Plain data, checked by the sampler that
 * `name` says.
 */
export interface SamplerSettings {
  /** @default 'maskgit' */
  readonly name?: string;
  readonly [option: string]: unknown;
}
