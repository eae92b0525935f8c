/** Conditioning of a model on how much of its input is masked, computed on the host. */
import { withPrefix, type HostTensor, type HostTree, type SpecTree } from '../tensors/tensors.js';

/** What the host knows about a forward pass. */
export interface PassProgress {
  /** float32 [batch], fraction of masked positions in [0, 1]; while training the schedule's, before rounding to a count. */
  readonly maskRatio: HostTensor<'float32'>;
  /** Steps after this one, in the multi-step sampler; absent in all other passes. */
  readonly stepsLeft?: number;
}

/**
 * Inputs that a model derives from the progress of a pass: the mask ratio itself, or the sinusoids of a timestep. On the
 * host, because cosines of large arguments differ between devices.
 */
export interface TimeConditioning {
  /** Shape without the batch axis and dtype of each input. */
  readonly specs: SpecTree;
  /** The inputs of a pass; every tensor has the leading axis of `progress.maskRatio`. Pure. */
  compute(progress: PassProgress): HostTree;
}

/** A model that may be conditioned on progress. */
export interface TimeConditioned {
  readonly time?: TimeConditioning;
}

/** Specifications of the `time/<name>` inputs of a batch; none for models that are not conditioned on progress. */
export function timeSpecs(model: TimeConditioned, batchSize: number, prefix = 'time'): SpecTree {
  return withPrefix(
    prefix,
    Object.fromEntries(
      Object.entries(model.time?.specs ?? {}).map(([name, { dtype, shape }]) => [
        name,
        { dtype, shape: [batchSize, ...shape] },
      ]),
    ),
  );
}

/** The `time/<name>` inputs of a pass. */
export function timeInputs(model: TimeConditioned, progress: PassProgress, prefix = 'time'): HostTree {
  return withPrefix(prefix, model.time?.compute(progress) ?? {});
}
