/**
 * Every kernel against core's composition of tfjs' own kernels, on the same adapter, for random shapes; and with every
 * tuning, so that a software adapter checks the programs for real GPUs too. Skipped without an adapter, with the reason.
 *
 * Both sides are float32: they differ by the order of sums and by the last bits of exp and erf, relative to the largest
 * number that entered.
 */
import {
  adamUpdate,
  attention,
  gelu,
  globalNorm,
  layerNorm,
  linear,
  maskedCrossEntropy,
  matrixProduct,
  randomStream,
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
import { measureTuning } from './measured-tuning.js';
import { kernelNames, registerWebgpuKernels, unregisterWebgpuKernels } from './register.js';
import { gpuTuning, softwareTuning, type Tuning } from './rows.js';
import { gpuErrors, startTestAdapter } from '../test-support/adapter.js';

const unavailable = await startTestAdapter();
const tolerance = 2e-5;

const tunings: Record<string, Tuning> = {
  'a software adapter': softwareTuning,
  // Tiled products have tests of their own: each of their programs takes a software adapter seconds to compile.
  'a GPU': { ...gpuTuning, matrixProduct: 'direct' },
};

let count = 0;
function normal(shape: readonly number[], scale = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    randomStream(3, 0, `kernels/${count++}`)
      .normal(size)
      .map((value) => value * scale),
    [...shape],
  );
}
function uniform(shape: readonly number[]): Tensor {
  return tf.tensor(randomStream(3, 1, `kernels/${count++}`).uniform(shape.reduce((a, b) => a * b, 1)), [...shape]);
}
function integers(shape: readonly number[], below: number): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(randomStream(3, 2, `kernels/${count++}`).integers(size, below), [...shape], 'int32');
}

/** Runs `compute` with the kernels and without; every result must agree. */
async function agree(compute: () => Tensor[], limit = tolerance): Promise<void> {
  const run = async () => {
    const tensors = tf.tidy(compute);
    const values = await Promise.all(
      tensors.map(async (tensor) => ({ shape: tensor.shape, data: await tensor.data() })),
    );
    tf.dispose(tensors);
    return values;
  };
  const fused = await run();
  const tuning = current;
  unregisterWebgpuKernels();
  const composed = await run();
  registerWebgpuKernels({ tuning });
  expect(gpuErrors()).toEqual([]);
  expect(fused.map(({ shape }) => shape)).toEqual(composed.map(({ shape }) => shape));
  fused.forEach(({ data }, index) => {
    const wanted = composed[index]!.data;
    let largest = 1;
    for (const value of wanted) largest = Math.max(largest, Math.abs(value));
    let worst = 0;
    for (let i = 0; i < wanted.length; i++) worst = Math.max(worst, Math.abs(data[i]! - wanted[i]!));
    if (!(worst / largest <= limit))
      throw new Error(`result ${index}, [${fused[index]!.shape.join(', ')}]: off by ${worst} of ${largest}`);
  });
}

/** The value, and the gradients with respect to all arguments. */
function withGradients(f: (...args: Tensor[]) => Tensor, args: Tensor[]): () => Tensor[] {
  const weights = new Map<string, Tensor>();
  return () => {
    const value = f(...args);
    const key = value.shape.join();
    if (!weights.has(key)) weights.set(key, tf.keep(normal(value.shape)));
    const scalarOf = (...xs: Tensor[]) => tf.sum(tf.mul(f(...xs), weights.get(key)!)) as tf.Scalar;
    return [value, ...tf.grads(scalarOf)(args)];
  };
}

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

let current: Tuning = softwareTuning;
const length = fc.integer({ min: 1, max: 70 });
const batch = fc.integer({ min: 1, max: 5 });

/** A few random cases, the same in every run. */
async function forAll<T extends unknown[]>(
  arbitraries: { [I in keyof T]: fc.Arbitrary<T[I]> },
  check: (...values: T) => Promise<void>,
  numRuns = 5,
): Promise<void> {
  const property = fc.asyncProperty(...(arbitraries as unknown as [fc.Arbitrary<unknown>]), async (...values) => {
    await check(...(values as unknown as T));
  });
  await fc.assert(property, { numRuns, seed: 5 });
}

// A software adapter compiles each program for a second or more where its own cache is empty.
const timeout = 300_000;

describe.skipIf(unavailable)(unavailable ? `kernels, skipped: ${unavailable}` : 'kernels', { timeout }, () => {
  for (const [name, tuning] of Object.entries(tunings))
    describe(`tuned for ${name}`, () => {
      beforeAll(() => {
        current = tuning;
        registerWebgpuKernels({ tuning });
      });
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

      it('matrix products with transposed operands, alone and in batches', () =>
        forAll([fc.boolean(), fc.boolean(), length, length, length, batch], async (ta, tb, m, k, n, b) => {
          for (const leading of [[], [b]]) {
            const a = normal([...leading, ...(ta ? [k, m] : [m, k])]);
            const c = normal([...leading, ...(tb ? [n, k] : [k, n])]);
            await agree(() => [matrixProduct(a, c, ta, tb)]);
          }
        }));

      it('linear with and without bias, and its gradient', () =>
        forAll([batch, length, length, length], async (b, l, k, n) => {
          const [x, weight, bias] = [normal([b, l, k]), normal([n, k]), normal([n])];
          await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [x, weight, bias]));
          await agree(withGradients((...args) => linear(args[0]!, args[1]!), [x, weight]));
        }));

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
    current = gpuTuning;
    registerWebgpuKernels({ tuning: gpuTuning });
    const rows = 70_001; // one workgroup each; the limit is 65,535
    const x = normal([rows, 2]);
    const [scale, offset] = [normal([2]), normal([2])];
    await agree(() => [layerNorm(x, scale, offset, { epsilon: 1 })]);
    const long = normal([65_536 * 64 + 3]); // one lane each, three too many for vectors of four
    await agree(() => [gelu(long)]);
    // More partial sums than one workgroup adds up; the composition itself is off by more.
    await agree(() => [globalNorm([long, tf.slice(long, 0, 65_536 * 64)])], 1e-4);
  });

  it('no more than eight storage buffers', async () => {
    // What WebGPU guarantees; the adapter here binds more.
    const { device } = tf.backend() as unknown as { device: { limits: object } };
    const { limits } = device;
    const few = { maxComputeWorkgroupsPerDimension: 65_535, maxStorageBuffersPerShaderStage: 8 };
    Object.defineProperty(device, 'limits', { value: few, configurable: true });
    try {
      current = softwareTuning;
      registerWebgpuKernels({ tuning: softwareTuning });
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

  it('tiled matrix products: odd sizes, many at once, and with k split', async () => {
    current = gpuTuning;
    registerWebgpuKernels({ tuning: gpuTuning });
    // Tiles of 64 by 64, not all of them full, and read number by number where a length is odd.
    for (const [m, k, n] of [
      [68, 20, 132],
      [67, 33, 65],
    ] as const) {
      const [x, weight, bias] = [normal([m, k]), normal([n, k]), normal([n])];
      await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [x, weight, bias]));
    }
    // 600 matrices have larger tiles.
    const [many, few] = [normal([600, 5, 3]), normal([600, 6, 5])];
    await agree(() => [matrixProduct(many, few, true, true)]);
    // k of 700 is split into two parts, which are added up, with the bias or with the sums for it.
    const [x, weight, bias] = [normal([10, 700]), normal([7, 700]), normal([7])];
    await agree(() => [linear(x, weight, bias)]);
    const [rows, small] = [normal([700, 12]), normal([8, 12])];
    await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [rows, small, normal([8])]));
  });

  it('the matrix product that is fastest is found by running them', async () => {
    const tuning = await measureTuning({ rows: 68, width: 20, rounds: 1 });
    expect(['tiled', 'stock']).toContain(tuning.matrixProduct);
    expect(await measureTuning()).toBe(tuning); // once per device
    expect(gpuErrors()).toEqual([]);
  });

  it("tfjs' own matrix product under the ops", async () => {
    current = { ...gpuTuning, matrixProduct: 'stock' };
    registerWebgpuKernels({ tuning: current });
    const [x, weight, bias] = [normal([5, 6]), normal([7, 6]), normal([7])];
    await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [x, weight, bias]));
    await agree(withGradients((...args) => linear(args[0]!, args[1]!), [x, weight]));
  });

  it('attention with wide heads and more positions than a tile', async () => {
    current = softwareTuning;
    registerWebgpuKernels({ tuning: softwareTuning });
    const inputs = [normal([1, 130, 64]), normal([1, 130, 64]), normal([1, 130, 64])];
    await agree(
      withGradients((q, k, v) => attention(...([q, k, v] as [never, never, never]), { numHeads: 1 }), inputs),
    );
  });

  it('covers every kernel', () => {
    // The tests above call core's ops; this list is what they reach.
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
