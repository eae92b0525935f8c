/** The optimizer's kernels against core's compositions, for parameters of any number and size. Skipped without an adapter. */
import { adamUpdate, globalNorm, tokenDivergence } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, it } from 'vitest';
import { softwareTuning } from './rows.js';
import { startTestAdapter } from '../test-support/adapter.js';
import {
  agree,
  forAll,
  length,
  normal,
  timeout,
  tolerance,
  tunings,
  uniform,
  useTuning,
} from '../test-support/agreement.js';

const unavailable = await startTestAdapter();

/** An update of several parameters whose sizes are read one and four numbers at a time; the third has none. */
function adam(
  count: number,
  { apply, hasAverage, shape: [m, n] }: { apply: number; hasAverage: boolean; shape: [number, number] },
): () => Tensor[] {
  const tensors = Array.from({ length: count }, (_, i) => {
    const shape = i === 2 ? [0, n] : [m + i, n];
    return {
      parameter: normal(shape),
      gradient: apply ? normal(shape) : tf.fill(shape, NaN),
      firstMoment: normal(shape),
      secondMoment: uniform(shape),
      ...(hasAverage ? { average: normal(shape) } : {}),
    };
  });
  const scalars = {
    gradientScale: tf.scalar(apply ? 0.3 : NaN),
    stepSize: tf.scalar(0.01),
    rootCorrection: tf.scalar(1.7),
    decay: tf.scalar(0.02),
    ...(hasAverage ? { averageRate: tf.scalar(0.1) } : {}),
  };
  return () => {
    // A flag as a comparison makes it, an integer in its buffer.
    const flag = tf.cast(tf.greater(tf.scalar(apply), 0.5), 'float32') as tf.Scalar;
    const updated = adamUpdate(tensors, { ...scalars, apply: flag }, { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 });
    return updated.flatMap((of) => Object.values(of) as Tensor[]);
  };
}

describe.skipIf(unavailable)(unavailable ? `optimizer, skipped: ${unavailable}` : 'optimizer', { timeout }, () => {
  for (const [name, tuning] of Object.entries(tunings))
    describe(`tuned for ${name}`, () => {
      beforeAll(() => useTuning(tuning));

      it.each([false, true])('Adam for several parameters, with an average %s', (hasAverage) =>
        forAll([length, length, fc.constantFrom(0, 1), fc.constantFrom(1, 7)], async (m, n, apply, count) => {
          await agree(adam(count, { apply, hasAverage, shape: [m, n] }), apply ? tolerance : 0);
        }),
      );

      it('the norm of several tensors', () =>
        forAll([length, length, fc.constantFrom(1, 7)], async (m, n, count) => {
          const tensors = Array.from({ length: count }, (_, i) => normal([m + i, n]));
          await agree(() => [globalNorm(tensors)]);
        }));
    });

  it('no more than eight storage buffers', async () => {
    // What WebGPU guarantees; the adapter here binds more.
    const { device } = tf.backend() as unknown as { device: { limits: object } };
    const { limits } = device;
    const few = { maxComputeWorkgroupsPerDimension: 65_535, maxStorageBuffersPerShaderStage: 8 };
    Object.defineProperty(device, 'limits', { value: few, configurable: true });
    try {
      useTuning(softwareTuning);
      await agree(adam(20, { apply: 1, hasAverage: true, shape: [3, 5] }));
      await agree(adam(3, { apply: 0, hasAverage: true, shape: [4, 4] }), 0);
      const tensors = Array.from({ length: 20 }, (_, i) => normal([i + 1, 3]));
      await agree(() => [globalNorm(tensors)]);
      const logits = () => normal([2, 3, 7], 2) as tf.Tensor3D;
      const inputs = {
        conditional: logits(),
        unconditional: logits(),
        auxiliary: logits(),
        guidanceScale: uniform([2]) as tf.Tensor1D,
        weights: uniform([2, 3]) as tf.Tensor2D,
      };
      const attributes = { beta: -0.2, teacherTemperature: 1, auxiliaryTemperature: 1 };
      await agree(() => {
        const { value, gradient } = tokenDivergence(inputs, attributes);
        return [value, gradient];
      });
    } finally {
      Object.defineProperty(device, 'limits', { value: limits, configurable: true });
    }
  });
});
