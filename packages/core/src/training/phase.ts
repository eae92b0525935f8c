/**
 * A phase of training: one network that is updated. What a training program is made of: distillation has two, the
 * training of a teacher, a tokenizer or a classifier has one.
 */
import type { TensorTree, HostTree, SpecTree } from '../tensors/tensors.js';
import type { ResolvedOptimizerOptions } from './optimizer-options.js';

/** Samples that one call is given, of the batch of a step. The step's batch may be split over micro-steps and ranks. */
export interface SampleRows {
  /** 0, 1, ... */
  readonly step: number;
  /** Number of the first sample in the run, counted from the first sample of step 0: the key of its random numbers. */
  readonly first: number;
  /** Samples of this call. */
  readonly count: number;
  /** Number in the run of the first sample of the step. */
  readonly firstOfStep: number;
  /** Samples of the whole step: losses are means over these. */
  readonly batchSize: number;
}

/** What `Phase.gradients` computes. */
export interface PhaseGradients {
  /** Gradients of the trained parameters, under their names. Those of micro-steps and ranks are added. */
  readonly gradients: TensorTree;
  /**
   * What is handed out. Scalars are contributions to the numbers of the whole step, and added as gradients are; `loss`
   * is one of them.
   */
  readonly outputs: TensorTree;
  /**
   * Further tensors of the state that change with the update: a codebook that follows its vectors. Left as they were if
   * the update is not made. Only for programs without micro-steps.
   */
  readonly state?: TensorTree;
}

/** One network that is updated: what is trained, on which draws, by which gradients, and how. */
export interface Phase {
  /**
   * Distinguishes the phases of a program: its optimizer's moments are `<name>Optimizer/...` in the state, its counter is
   * `<name>Updates`, its metrics begin with `<name>/`. The phase of a program of one has none: `optimizer/...`,
   * `updates`.
   */
  readonly name?: string;
  /** The trained parameters: `<prefix>/<p>` in the state. */
  readonly trains: { readonly prefix: string; readonly parameters: SpecTree };
  /** Updated in every so many steps, step 0 among them. @default 1 */
  readonly every?: number;
  /**
   * Random numbers and data of samples, as inputs of `gradients`. They follow from the number of each sample and of the
   * step alone, so they can be made ahead of time and in parts.
   *
   * @param onDevice - leave what is large to be drawn by the engine, which makes random numbers itself.
   */
  draw(rows: SampleRows, onDevice: boolean): HostTree | Promise<HostTree>;
  /** Set if `gradients` returns further tensors of the state, or what it returns is no sum over samples. @default false */
  readonly needsWholeBatch?: boolean;
  /**
   * Gradients of the loss of the whole step by the samples in `inputs`. Pure. Losses are weighted by numbers that come
   * with the inputs, never by sums over what the device happens to hold.
   */
  gradients(state: TensorTree, inputs: TensorTree): PhaseGradients;
  readonly optimizer: ResolvedOptimizerOptions;
  /** Learning rate in a step, 0, 1, ... */
  learningRate(step: number): number;
  /** Moving average of the trained parameters: `<prefix>/<p>` in the state. */
  readonly average?: {
    readonly prefix: string;
    /** Decay at an update, given the updates made before it; 1 leaves the average as it is. */
    decay(updates: number): number;
  };
  /**
   * Further metrics.
   *
   * @param outputs - those of `gradients`, one tree per micro-step.
   */
  metrics?(outputs: readonly HostTree[]): Readonly<Record<string, number>>;
}
