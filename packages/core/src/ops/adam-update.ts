/** One Adam or AdamW update of all parameters, with the moving average of the weights. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import { runFusable } from './dispatch.js';
import type { AdamUpdateAttributes } from './fusable-kernels.js';

/** One parameter of an update; all tensors have its shape, float32. */
export interface AdamTensors {
  readonly parameter: Tensor;
  readonly gradient: Tensor;
  /** Running mean of the gradients. */
  readonly firstMoment: Tensor;
  /** Running mean of the squared gradients. */
  readonly secondMoment: Tensor;
  /** Moving average of the parameter; of all parameters of an update or of none. */
  readonly average?: Tensor;
}

/** The new values of one parameter. */
export type AdamUpdated = Omit<AdamTensors, 'gradient'>;

/** float32 scalars of one update, shared by all parameters. */
export interface AdamScalars {
  /** Multiplies the gradient: the factor of global-norm clipping. */
  readonly gradientScale: Scalar;
  /** learning rate / (1 - beta1^t) of update t = 1, 2, ... */
  readonly stepSize: Scalar;
  /** 1 / sqrt(1 - beta2^t). */
  readonly rootCorrection: Scalar;
  /** learning rate * weight decay, for decoupled decay (AdamW); 0 for none. */
  readonly decay: Scalar;
  /** 1 to update; 0 to return everything unchanged, bit for bit, even if the gradient is not finite. */
  readonly apply: Scalar;
  /** 1 - decay of the moving average; 0 keeps it bit for bit. Needed where there is an average. */
  readonly averageRate?: Scalar;
}

/**
 * Adam (Kingma and Ba, arXiv 1412.6980) in PyTorch's form, with decoupled weight decay (Loshchilov and Hutter, arXiv
 * 1711.05101), and the moving average a of the parameter:
 *
 *   m' = m + (1 - beta1) (g - m)      v' = v + (1 - beta2) (g^2 - v)
 *   p' = p - decay p - stepSize m' / (sqrt(v') rootCorrection + epsilon)      a' = a + averageRate (p' - a)
 *
 * Kernel `DimoAdamUpdate`. Not differentiable.
 */
export function adamUpdate(
  tensors: readonly AdamTensors[],
  scalars: AdamScalars,
  attributes: AdamUpdateAttributes,
): AdamUpdated[] {
  if (tensors.length === 0) return [];
  const numbered = Object.fromEntries(
    tensors.flatMap((of, i) => Object.entries(of).map(([name, tensor]) => [`${name}/${i}`, tensor as Tensor])),
  );
  const results = runFusable('DimoAdamUpdate', { ...numbered, ...scalars }, attributes, () =>
    adamComposition(tensors, scalars, attributes),
  );
  const perParameter = results.length / tensors.length;
  return tensors.map((_, i) => {
    const [parameter, firstMoment, secondMoment, average] = results.slice(i * perParameter, (i + 1) * perParameter);
    return {
      parameter: parameter!,
      firstMoment: firstMoment!,
      secondMoment: secondMoment!,
      ...(average ? { average } : {}),
    };
  });
}

/** Elements up to which a parameter is updated together with others: one operator for a few numbers is mostly overhead. */
const fewElements = 2 ** 13;

/** The new values of each parameter, as the kernel returns them. */
function adamComposition(
  tensors: readonly AdamTensors[],
  scalars: AdamScalars,
  attributes: AdamUpdateAttributes,
): Tensor[] {
  const small = tensors.filter(({ parameter }) => parameter.size <= fewElements);
  if (small.length < 2) return updateEach(tensors, scalars, attributes);
  const large = tensors.filter((of) => !small.includes(of));
  const names = Object.keys(small[0]!) as (keyof AdamTensors)[];
  const joined = Object.fromEntries(
    names.map((name) => [name, tf.concat(small.map((of) => tf.reshape(of[name]!, [-1])))]),
  ) as unknown as AdamTensors;
  const sizes = small.map(({ parameter }) => parameter.size);
  const parts = updateEach([joined], scalars, attributes).map((result) => tf.split(result, sizes));
  const results = updateEach(large, scalars, attributes);
  const numResults = parts.length;
  let next = 0;
  return tensors.flatMap((of) => {
    const index = small.indexOf(of);
    if (index >= 0) return parts.map((part) => tf.reshape(part[index]!, of.parameter.shape));
    return results.slice(next, (next += numResults));
  });
}

function updateEach(
  tensors: readonly AdamTensors[],
  scalars: AdamScalars,
  { beta1, beta2, epsilon }: AdamUpdateAttributes,
): Tensor[] {
  const { apply } = scalars;
  // Scalars carry the decision, so that a skipped update costs one selection and not three.
  const isApplied = tf.cast(apply, 'bool');
  const [rate1, rate2] = [tf.mul(apply, 1 - beta1), tf.mul(apply, 1 - beta2)];
  const stepSize = tf.mul(apply, scalars.stepSize);
  const kept = tf.sub(1, tf.mul(apply, scalars.decay));
  const averageRate = scalars.averageRate && tf.mul(scalars.averageRate, apply);
  // Or 0 where nothing is applied: the scale of a gradient that is not finite is NaN.
  const scale = tf.where(isApplied, scalars.gradientScale, tf.zerosLike(scalars.gradientScale));
  return tensors.flatMap(({ parameter, gradient: given, firstMoment, secondMoment, average }) => {
    const gradient = tf.mul(tf.where(isApplied, given, tf.zerosLike(given)), scale);
    const m = tf.add(firstMoment, tf.mul(tf.sub(gradient, firstMoment), rate1));
    const v = tf.add(secondMoment, tf.mul(tf.sub(tf.mul(gradient, gradient), secondMoment), rate2));
    const denominator = tf.add(tf.mul(tf.sqrt(v), scalars.rootCorrection), epsilon);
    const updated = tf.sub(tf.mul(parameter, kept), tf.div(tf.mul(m, stepSize), denominator));
    if (!average || !averageRate) return [updated, m, v];
    return [updated, m, v, tf.add(average, tf.mul(tf.sub(updated, average), averageRate))];
  });
}
