/**
 * Every kernel against core's composition of tfjs' own kernels, on the same adapter, for random shapes; and with every
 * tuning. Matrix products, the optimizer and random numbers have files of their own. Skipped without an adapter, with the
 * reason.
 */
import {
  attention,
  gelu,
  globalNorm,
  layerNorm,
  linear,
  maskedCrossEntropy,
  rmsNorm,
  rotaryEmbedding,
  sampleCategorical,
  softCrossEntropy,
  tokenDivergence,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { kernelNames } from './register.js';
import { gpuTuning, softwareTuning } from './rows.js';
import { compiledPrograms, gpuErrors, startTestAdapter } from '../test-support/adapter.js';
import {
  agree,
  batch,
  forAll,
  integers,
  length,
  normal,
  timeout,
  tunings,
  uniform,
  useTuning,
  withGradients,
} from '../test-support/agreement.js';

const unavailable = await startTestAdapter();

describe.skipIf(unavailable)(unavailable ? `kernels, skipped: ${unavailable}` : 'kernels', { timeout }, () => {
  for (const [name, tuning] of Object.entries(tunings))
    describe(`tuned for ${name}`, () => {
      beforeAll(() => useTuning(tuning));
      it('layer norm and its gradient', () =>
        forAll([batch, length, length], async (b, l, d) => {
          const inputs = [normal([b, l, d], 3), normal([d]), normal([d])];
          // A row of one or two numbers has hardly any deviation, which makes its inverse huge and its gradient noise.
          const epsilon = d < 3 ? 1 : 1e-5;
          await agree(
            withGradients((x, scale, offset) => layerNorm(x!, scale!, offset!, { epsilon }), inputs),
            5e-5,
          );
        }));

      it('root-mean-square norm and its gradient', () =>
        forAll([batch, length, length], async (b, l, d) => {
          const inputs = [normal([b, l, d], 3), normal([d])];
          const epsilon = d < 3 ? 1 : 1e-6; // a row of one small number has a huge inverse
          await agree(
            withGradients((x, scale) => rmsNorm(x!, scale!, { epsilon }), inputs),
            5e-5,
          );
        }));

      it('rotary embedding and its gradient', () =>
        forAll(
          [batch, length, fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 9 })],
          async (b, l, h, pairs) => {
            const angles = normal([l, pairs]);
            const tables = { cosines: tf.cos(angles) as tf.Tensor2D, sines: tf.sin(angles) as tf.Tensor2D };
            const x = normal([b, l, 2 * h * pairs]);
            await agree(withGradients((given) => rotaryEmbedding(given as tf.Tensor3D, tables, h), [x]));
          },
        ));

      it.each(['none', 'tanh'] as const)('gelu (%s) and its gradient', (approximate) =>
        forAll([length, length], async (l, d) => {
          await agree(withGradients((x) => gelu(x!, { approximate }), [normal([l, d], 4)]));
        }),
      );

      it.each([false, true])('attention and its gradient, causal %s', (causal) =>
        forAll(
          [batch, fc.integer({ min: 1, max: 3 }), length, length, fc.constantFrom(3, 8)],
          async (b, numHeads, queries, keys, headWidth) => {
            const width = numHeads * headWidth;
            const numKeys = causal ? queries : keys;
            const inputs = [normal([b, queries, width]), normal([b, numKeys, width]), normal([b, numKeys, width])];
            await agree(
              withGradients(
                (q, k, v) => attention(...([q, k, v] as [never, never, never]), { numHeads, causal }),
                inputs,
              ),
            );
          },
        ),
      );

      it('token divergence, with and without guidance', () =>
        forAll(
          [batch, length, fc.integer({ min: 1, max: 300 }), fc.constantFrom(0, 1, -0.2, 0.7), fc.boolean()],
          async (b, l, v, beta, isGuided) => {
            const logits = () => tf.add(normal([b, l, v], 3), 20) as tf.Tensor3D;
            const guidance = isGuided
              ? { unconditional: logits(), guidanceScale: tf.add(uniform([b]), 1) as tf.Tensor1D }
              : {};
            const inputs = {
              conditional: logits(),
              auxiliary: logits(),
              weights: uniform([b, l]) as tf.Tensor2D,
              ...guidance,
            };
            const attributes = { beta, teacherTemperature: 1.5, auxiliaryTemperature: 0.9 };
            await agree(() => {
              const { value, forwardKl, totalVariation, gradient } = tokenDivergence(inputs, attributes);
              return [value, forwardKl, totalVariation, gradient];
            });
          },
        ));

      it('masked cross-entropy', () =>
        forAll(
          [batch, length, fc.integer({ min: 1, max: 300 }), fc.constantFrom(0, 0.1)],
          async (b, l, v, smoothing) => {
            const inputs = {
              logits: normal([b, l, v], 3) as tf.Tensor3D,
              targets: integers([b, l], v) as tf.Tensor2D,
              weights: uniform([b, l]) as tf.Tensor2D,
            };
            await agree(() => {
              const { loss, negativeLogLikelihood, gradient } = maskedCrossEntropy(inputs, smoothing);
              return [loss, negativeLogLikelihood, gradient];
            });
          },
        ));

      it('soft cross-entropy', () =>
        forAll(
          [batch, length, fc.integer({ min: 1, max: 300 }), fc.constantFrom(1, 2)],
          async (b, l, v, temperature) => {
            const logits = () => normal([b, l, v], 3) as tf.Tensor3D;
            const inputs = { logits: logits(), target: logits(), weights: uniform([b, l]) as tf.Tensor2D };
            await agree(() => {
              const { loss, gradient } = softCrossEntropy(inputs, temperature);
              return [loss, gradient];
            });
          },
        ));

      it('numbers that tfjs calls float32 but keeps as integers', async () => {
        // tf.cast changes the type of such a tensor, not its buffer.
        const isMasked = integers([2, 5], 2);
        const logits = normal([2, 5, 7], 2) as tf.Tensor3D;
        await agree(() => {
          const weights = tf.cast(isMasked, 'float32') as tf.Tensor2D;
          const attributes = { beta: -0.2, teacherTemperature: 1, auxiliaryTemperature: 1 };
          const inputs = { conditional: logits, auxiliary: tf.mul(logits, 0.5) as tf.Tensor3D, weights };
          const { value, gradient } = tokenDivergence(inputs, attributes);
          return [value, gradient, gelu(tf.cast(isMasked, 'float32'))];
        });
      });

      it('categorical sampling draws the same ids', () =>
        forAll([batch, length, fc.integer({ min: 1, max: 600 })], async (b, l, v) => {
          const logits = normal([b, l, v], 2) as tf.Tensor3D;
          // Every third id cannot be drawn.
          const allowed = tf.tensor(Float32Array.from({ length: v }, (_, i) => (i % 3 === 2 ? -1e9 : 0)));
          const masked = tf.add(logits, allowed) as tf.Tensor3D;
          const draws = uniform([b, l]) as tf.Tensor2D;
          await agree(() => [sampleCategorical(masked, draws)], 0);
        }));

      it('categorical sampling writes a legal id for any number', async () => {
        const draws = tf.tensor2d([[0, 0.999999940395, 0.5, 0.5]]);
        const rows = [
          [-1e9, 1, -1e9],
          [1, 1, -1e9],
          [NaN, 1, 1],
          [-Infinity, -Infinity, -Infinity],
        ];
        const ids = await sampleCategorical(tf.tensor3d([rows]), draws).data();
        expect([...ids].slice(0, 2)).toEqual([1, 1]);
        for (const id of ids) expect([0, 1, 2]).toContain(id);
      });

      it('nothing at all', async () => {
        const empty = (shape: number[]) => tf.zeros(shape);
        const bias = normal([4]);
        const results = [
          linear(empty([0, 3]), empty([4, 3]), bias),
          gelu(empty([0])),
          layerNorm(empty([0, 5]), normal([5]), normal([5]), { epsilon: 1e-5 }),
          attention(empty([2, 0, 4]) as tf.Tensor3D, empty([2, 3, 4]) as tf.Tensor3D, empty([2, 3, 4]) as tf.Tensor3D, {
            numHeads: 2,
          }),
        ];
        expect(results.map(({ shape }) => shape)).toEqual([[0, 4], [0], [0, 5], [2, 0, 4]]);
        const x = empty([0, 5]);
        const gradients = tf.engine().runKernel('DimoLayerNormGrad', {
          x,
          scale: normal([5]),
          mean: empty([0, 1]),
          inverseDeviation: empty([0, 1]),
          dy: x,
        }) as unknown as Tensor[];
        expect([...(await gradients[1]!.data())]).toEqual([0, 0, 0, 0, 0]);
        expect([...(await globalNorm([x, tf.tensor1d([3, 4]), x]).data())]).toEqual([5]);
        expect([...(await globalNorm([x]).data())]).toEqual([0]);
        expect(gpuErrors()).toEqual([]);
      });
    });

  it('more workgroups than one dimension holds', async () => {
    useTuning(gpuTuning);
    const rows = 70_001; // one workgroup each; the limit is 65,535
    const x = normal([rows, 2]);
    const [scale, offset] = [normal([2]), normal([2])];
    await agree(() => [layerNorm(x, scale, offset, { epsilon: 1 })]);
    const long = normal([65_536 * 64 + 3]); // one lane each, three too many for vectors of four
    await agree(() => [gelu(long)]);
    // More partial sums than one workgroup adds up; the composition itself is off by more.
    await agree(() => [globalNorm([long, tf.slice(long, 0, 65_536 * 64)])], 1e-4);
  });

  it('attention with wide heads and more positions than a tile', async () => {
    useTuning(softwareTuning);
    const inputs = [normal([1, 130, 64]), normal([1, 130, 64]), normal([1, 130, 64])];
    await agree(
      withGradients((q, k, v) => attention(...([q, k, v] as [never, never, never]), { numHeads: 1 }), inputs),
    );
  });

  it('compiles no program twice', () => {
    // For all that the tests above have run, with many shapes and two tunings.
    expect(compiledPrograms().length).toBeGreaterThan(kernelNames.length);
    expect(compiledPrograms().filter((text, i, all) => all.indexOf(text) !== i)).toEqual([]);
  });

  it('covers every kernel', () => {
    // The tests here and in the files named above call core's ops; this list is what they reach.
    expect([...kernelNames].sort()).toEqual([
      'DimoAdamUpdate',
      'DimoAttention',
      'DimoAttentionForward',
      'DimoAttentionGrad',
      'DimoGelu',
      'DimoGeluGrad',
      'DimoGlobalNorm',
      'DimoLayerNorm',
      'DimoLayerNormGrad',
      'DimoLinear',
      'DimoLinearGrad',
      'DimoMaskedCrossEntropy',
      'DimoMatMul',
      'DimoRandomNumbers',
      'DimoRmsNorm',
      'DimoRmsNormGrad',
      'DimoRotaryEmbedding',
      'DimoSampleCategorical',
      'DimoSoftCrossEntropy',
      'DimoTokenDivergence',
    ]);
  });
});
