import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  adamUpdate,
  applyOptimizer,
  optimizerScalars,
  randomStream,
  resolveOptimizer,
  type NonFinitePolicy,
  type OptimizerOptions,
  type TensorTree,
} from '../index.js';

beforeAll(() => tf.setBackend('cpu'));

/** Runs updates of one parameter with the given gradients; returns the parameter after each. */
function trajectory(
  start: number[],
  gradients: number[][],
  {
    policy = 'throw',
    learningRate = 0.1,
    ...options
  }: OptimizerOptions & { policy?: NonFinitePolicy; learningRate?: number },
) {
  const resolved = resolveOptimizer(options);
  let parameters: TensorTree = { p: tf.tensor1d(start) };
  let moments: TensorTree = { 'm/p': tf.zeros([start.length]), 'v/p': tf.zeros([start.length]) };
  return gradients.map((gradient, update) => {
    const scalars = Object.fromEntries(
      Object.entries(optimizerScalars(resolved, learningRate, update)).map(([name, { data }]) => [
        name,
        tf.scalar(data[0]!),
      ]),
    );
    const result = applyOptimizer(
      { parameters, gradients: { p: tf.tensor1d(gradient) }, moments, scalars },
      resolved,
      policy,
    );
    ({ parameters, moments } = result);
    return {
      p: Array.from(parameters['p']!.dataSync()),
      m: Array.from(moments['m/p']!.dataSync()),
      v: Array.from(moments['v/p']!.dataSync()),
      norm: result.gradientNorm.dataSync()[0]!,
      applied: result.applied.dataSync()[0]!,
    };
  });
}

/** Adam in float64, written from the paper. */
function referenceAdam(
  start: number,
  gradients: number[],
  o: { lr: number; b1: number; b2: number; eps: number; decay?: number; coupled?: number },
) {
  let [p, m, v] = [start, 0, 0];
  return gradients.map((given, i) => {
    const t = i + 1;
    const g = given + (o.coupled ?? 0) * p;
    m = o.b1 * m + (1 - o.b1) * g;
    v = o.b2 * v + (1 - o.b2) * g * g;
    p -= o.lr * (o.decay ?? 0) * p;
    p -= (o.lr * (m / (1 - o.b1 ** t))) / (Math.sqrt(v / (1 - o.b2 ** t)) + o.eps);
    return p;
  });
}

describe('Adam', () => {
  it('moves by the learning rate at first, whatever the gradient', () => {
    // m / (1 - b1) = g and v / (1 - b2) = g^2, so the step is lr * g / (|g| + eps).
    const [first] = trajectory([1, 1], [[4, -0.25]], {});
    expect(first!.p).toEqual([expect.closeTo(0.9, 6), expect.closeTo(1.1, 6)]);
    expect(first!.norm).toBeCloseTo(Math.hypot(4, 0.25), 5);
  });

  it.each<[string, OptimizerOptions, { decay?: number; coupled?: number }]>([
    ['Adam', { beta1: 0.9, beta2: 0.999 }, {}],
    ['Adam without momentum', { beta1: 0, beta2: 0.99 }, {}],
    ['AdamW', { kind: 'adamw', weightDecay: 0.1 }, { decay: 0.1 }],
    ['Adam with coupled decay', { weightDecay: 0.1 }, { coupled: 0.1 }],
  ])('follows %s in float64', (_, options, reference) => {
    const gradients = [0.3, -1.2, 0.05, 2, -0.7, 0.4];
    const expected = referenceAdam(0.5, gradients, {
      lr: 0.1,
      b1: options.beta1 ?? 0.9,
      b2: options.beta2 ?? 0.999,
      eps: 1e-8,
      ...reference,
    });
    trajectory(
      [0.5],
      gradients.map((g) => [g]),
      options,
    ).forEach(({ p }, i) => expect(p[0]).toBeCloseTo(expected[i]!, 5));
  });

  it('clips to the global norm', () => {
    // A 3-4-5 triangle clipped to 1: gradients (0.6, 0.8), seen in the first moment (1 - 0.9) g.
    const [clipped] = trajectory([0, 0], [[3, 4]], { clipNorm: 1 });
    expect(clipped!.norm).toBeCloseTo(5, 5);
    expect(clipped!.m).toEqual([expect.closeTo(0.06, 6), expect.closeTo(0.08, 6)]);
    const [kept] = trajectory([0, 0], [[3, 4]], { clipNorm: 6 });
    expect(kept!.m).toEqual([expect.closeTo(0.3, 6), expect.closeTo(0.4, 6)]);
  });
});

describe('weight decay', () => {
  // A gradient of (3, 4) has norm 5; clipped to 1 it is (0.6, 0.8) within 1e-7. The first moment is 0.1 of what comes.
  const firstMoment = (options: OptimizerOptions) => trajectory([10, -20], [[3, 4]], { clipNorm: 1, ...options })[0]!.m;

  it('is added to the clipped gradient where it is coupled, and is no part of it where not', () => {
    expect(firstMoment({ kind: 'adam', weightDecay: 0.5 })).toEqual([
      expect.closeTo(0.1 * (0.6 + 5), 5),
      expect.closeTo(0.1 * (0.8 - 10), 5),
    ]);
    expect(firstMoment({ kind: 'adamw', weightDecay: 0.5 })).toEqual([
      expect.closeTo(0.06, 6),
      expect.closeTo(0.08, 6),
    ]);
  });

  it('that is decoupled is the learning rate times the decay times the parameter', () => {
    // Without a gradient only the decay moves: 10 (1 - 0.1 * 0.5).
    const [still] = trajectory([10, -20], [[0, 0]], { kind: 'adamw', weightDecay: 0.5 });
    expect(still!.p).toEqual([expect.closeTo(9.5, 5), expect.closeTo(-19, 5)]);
  });

  it('in reference runs comes after what is not finite is replaced', () => {
    const [replaced] = trajectory([10, -20], [[NaN, 4]], { policy: 'reference', weightDecay: 0.5 });
    expect(replaced!.m).toEqual([expect.closeTo(0.5, 5), expect.closeTo(0.1 * (4 - 10), 5)]);
  });
});

describe('clipping', () => {
  it('divides by the norm plus 1e-6, as PyTorch does', () => {
    // Norm 5e-6 clipped to 3e-6: a factor of 3 / 6, not 3 / 5.
    const [clipped] = trajectory([0, 0], [[3e-6, 4e-6]], { clipNorm: 3e-6 });
    expect(clipped!.m[0]! / 1.5e-7).toBeCloseTo(1, 3);
  });
});

describe('gradients that are not finite', () => {
  it.each([NaN, Infinity, -Infinity])('%s leaves the state unchanged, bit for bit', (bad) => {
    for (const policy of ['throw', 'skip'] as const) {
      const [good, skipped] = trajectory(
        [1, 2],
        [
          [0.1, 0.2],
          [bad, 0.2],
        ],
        { policy, clipNorm: 1, kind: 'adamw', weightDecay: 0.1 },
      );
      expect(skipped).toEqual({ ...good!, norm: skipped!.norm, applied: 0 });
      expect(good!.applied).toBe(1);
    }
  });

  it.each([NaN, Infinity, -Infinity])(
    'a loss of %s leaves the state unchanged where the gradients are finite',
    (loss) => {
      const resolved = resolveOptimizer({});
      const scalars = { stepSize: tf.scalar(1), rootCorrection: tf.scalar(1), decay: tf.scalar(0) };
      const result = applyOptimizer(
        {
          parameters: { p: tf.tensor1d([1, 2]) },
          gradients: { p: tf.tensor1d([3, 4]) },
          moments: { 'm/p': tf.tensor1d([5, 6]), 'v/p': tf.tensor1d([7, 8]) },
          scalars,
          loss: tf.tensor([loss]),
          average: { weights: { p: tf.tensor1d([9, 10]) }, rate: tf.scalar(0.5) },
        },
        resolved,
        'skip',
      );
      expect(result.applied.dataSync()[0]).toBe(0);
      expect(result.gradientNorm.dataSync()[0]).toBeCloseTo(5, 5);
      expect([...result.parameters['p']!.dataSync()]).toEqual([1, 2]);
      expect([...result.moments['m/p']!.dataSync(), ...result.moments['v/p']!.dataSync()]).toEqual([5, 6, 7, 8]);
      expect([...result.average['p']!.dataSync()]).toEqual([9, 10]);
    },
  );

  it('become what the official code makes of them, in reference runs', () => {
    // Quirk 5 of the reference: one NaN turns all gradients to NaN by clipping, then to 0; the moments still decay.
    const [first, nan] = trajectory(
      [1, 2],
      [
        [0.1, 0.2],
        [NaN, 0.2],
      ],
      { policy: 'reference', clipNorm: 1 },
    );
    expect(nan!.applied).toBe(1);
    expect(nan!.m).toEqual(first!.m.map((m) => expect.closeTo(0.9 * m, 7)));
    // An infinity makes the clip factor 0: itself NaN and then 0, all others 0.
    const [, infinite] = trajectory(
      [1, 2],
      [
        [0.1, 0.2],
        [Infinity, 0.2],
      ],
      { policy: 'reference', clipNorm: 1 },
    );
    expect(infinite!.m).toEqual(first!.m.map((m) => expect.closeTo(0.9 * m, 7)));
    // Without clipping NaN becomes 0 and infinities +-1e5; other gradients stay.
    const [unclipped] = trajectory([1, 2, 3, 4], [[NaN, Infinity, -Infinity, 0.5]], { policy: 'reference' });
    expect(unclipped!.m).toEqual([0, expect.closeTo(1e4, 0), expect.closeTo(-1e4, 0), expect.closeTo(0.05, 6)]);
  });
});

describe('moving average', () => {
  it('moves by the rate towards the new parameter, and not at all with rate 0 or without an update', () => {
    // No step: the new parameter is the old one, 3 and 0.7.
    const move = (rate: number, apply = 1) => {
      const [result] = adamUpdate(
        [
          {
            parameter: tf.tensor1d([3, 0.7]),
            gradient: tf.tensor1d([1, 1]),
            firstMoment: tf.zeros([2]),
            secondMoment: tf.zeros([2]),
            average: tf.tensor1d([1, 0.1]),
          },
        ],
        {
          gradientScale: tf.scalar(1),
          stepSize: tf.scalar(0),
          rootCorrection: tf.scalar(1),
          decay: tf.scalar(0),
          apply: tf.scalar(apply),
          averageRate: tf.scalar(rate),
        },
        { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
      );
      return Array.from(result!.average!.dataSync());
    };
    expect(move(0.25)).toEqual([1.5, expect.closeTo(0.25, 6)]);
    expect(move(0)).toEqual([1, Math.fround(0.1)]);
    expect(move(0.25, 0)).toEqual([1, Math.fround(0.1)]);
  });
});

describe('parameters of all sizes', () => {
  it('become what each becomes alone, bit for bit, in their order', () => {
    const shapes = [[3, 5], [9000], [7], [100, 90], [2, 2, 2]];
    const tensor = (shape: number[], i: number, name: string, lowest = -1) =>
      tf.tensor(
        randomStream(1, i, name)
          .uniform(shape.reduce((a, b) => a * b))
          .map((u) => lowest + (1 - lowest) * u),
        shape,
      );
    const tensors = shapes.map((shape, i) => ({
      parameter: tensor(shape, i, 'p'),
      gradient: tensor(shape, i, 'g'),
      firstMoment: tensor(shape, i, 'm'),
      secondMoment: tensor(shape, i, 'v', 0),
      average: tensor(shape, i, 'a'),
    }));
    const scalars = {
      gradientScale: tf.scalar(0.7),
      stepSize: tf.scalar(0.01),
      rootCorrection: tf.scalar(1.5),
      decay: tf.scalar(0.02),
      apply: tf.scalar(1),
      averageRate: tf.scalar(0.3),
    };
    const attributes = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
    const valuesOf = (result: object) =>
      Object.entries(result as TensorTree).map(([name, t]) => [name, t.shape, [...t.dataSync()]]);
    const together = adamUpdate(tensors, scalars, attributes).map(valuesOf);
    const alone = tensors.map((of) => valuesOf(adamUpdate([of], scalars, attributes)[0]!));
    expect(together).toEqual(alone);
  });
});

describe('optimizer options', () => {
  it('are checked', () => {
    expect(() => resolveOptimizer({ beta1: 1 }, 'distillation.generatorOptimizer')).toThrow(
      'distillation.generatorOptimizer.beta1 must be below 1, got 1',
    );
    expect(() => resolveOptimizer({ epsilon: 0 })).toThrow('epsilon');
    expect(() => resolveOptimizer({ kind: 'sgd' as never })).toThrow('"adam" or "adamw"');
    expect(() => resolveOptimizer({ clipNorm: -1 })).toThrow('clipNorm');
  });
});
