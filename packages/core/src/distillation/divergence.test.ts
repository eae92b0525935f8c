/**
 * Laws of the token divergence: >= 0 for beta in [0, 1], and 0 iff the distributions are equal; its gradient matches
 * finite differences, sums to 0 per row, ignores a constant added to the logits and is 0 where the weight is; Jeffreys
 * at 0 and 1 equals the two KLs; guidance scale 1 is the conditional teacher.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor3D } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { randomStream, tokenDivergence } from '../index.js';
import type { TokenDivergenceAttributes } from '../ops/index.js';
import { divergenceBeta } from './divergence.js';

const [batch, length, numLogits] = [2, 3, 5] as const;
const plain = { beta: 0, teacherTemperature: 1, auxiliaryTemperature: 1 };

beforeAll(() => tf.setBackend('cpu'));

interface Case {
  teacher: Float32Array;
  unconditional?: Float32Array;
  scale?: number[];
  auxiliary: Float32Array;
  weights?: number[];
}

function evaluate(given: Case, attributes: TokenDivergenceAttributes) {
  return tf.tidy(() => {
    const logits = (data: Float32Array) => tf.tensor3d(data, [batch, length, numLogits]) as Tensor3D;
    const result = tokenDivergence(
      {
        conditional: logits(given.teacher),
        ...(given.unconditional && given.scale
          ? { unconditional: logits(given.unconditional), guidanceScale: tf.tensor1d(given.scale) }
          : {}),
        auxiliary: logits(given.auxiliary),
        weights: tf.tensor2d(given.weights ?? new Array<number>(batch * length).fill(1), [batch, length]),
      },
      attributes,
    );
    return Object.fromEntries(
      Object.entries(result).map(([name, tensor]) => [name, Array.from(tensor.dataSync() as Float32Array)]),
    ) as Record<keyof typeof result, number[]>;
  });
}

function randomCase(seed: number): Case {
  const stream = randomStream(seed, 0, 'divergence');
  const n = batch * length * numLogits;
  return { teacher: stream.normal(n), auxiliary: stream.normal(n), unconditional: stream.normal(n) };
}

/** KLs of one row in float64. */
function klOfRow(given: Case, row: number): { forward: number; reverse: number } {
  const logSoftmax = (data: Float32Array) => {
    const logits = Array.from(data.slice(row * numLogits, (row + 1) * numLogits));
    const total = Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0));
    return logits.map((z) => z - total);
  };
  const [p, q] = [logSoftmax(given.teacher), logSoftmax(given.auxiliary)];
  const kl = (a: number[], b: number[]) => a.reduce((sum, value, v) => sum + Math.exp(value) * (value - b[v]!), 0);
  return { forward: kl(p, q), reverse: kl(q, p) };
}

const seeds = fc.nat();

describe('token divergence', () => {
  it('is the KL of a hand-made row', () => {
    // p = (3/4, 1/4), q = (1/4, 3/4): both KLs are 1/2 log 3, q - p = (-1/2, 1/2), total variation 1/2.
    const row = (a: number, b: number) => tf.tensor3d([[[Math.log(a), Math.log(b)]]]);
    tf.tidy(() => {
      const result = tokenDivergence({ conditional: row(3, 1), auxiliary: row(1, 3), weights: tf.ones([1, 1]) }, plain);
      expect(result.value.dataSync()[0]).toBeCloseTo(0.5 * Math.log(3), 6);
      expect(result.totalVariation.dataSync()[0]).toBeCloseTo(0.5, 6);
      expect(Array.from(result.gradient.dataSync())).toEqual([expect.closeTo(-0.5, 6), expect.closeTo(0.5, 6)]);
    });
  });

  it('equals KLs computed in float64, mixed by beta', () => {
    fc.assert(
      fc.property(seeds, fc.double({ min: -1, max: 2, noNaN: true }), (seed, beta) => {
        const given = randomCase(seed);
        const { value } = evaluate({ teacher: given.teacher, auxiliary: given.auxiliary }, { ...plain, beta });
        value.forEach((got, row) => {
          const { forward, reverse } = klOfRow(given, row);
          expect(got).toBeCloseTo((1 - beta) * forward + beta * reverse, 4);
        });
      }),
      { numRuns: 30 },
    );
  });

  it('is 0 for equal distributions, also when a constant is added, and positive otherwise', () => {
    fc.assert(
      fc.property(seeds, fc.constantFrom(0, 0.3, 1), (seed, beta) => {
        const { teacher, auxiliary } = randomCase(seed);
        const shifted = teacher.map((z) => z + 3);
        const equal = evaluate({ teacher, auxiliary: shifted }, { ...plain, beta });
        for (const value of equal.value) expect(Math.abs(value)).toBeLessThan(1e-5);
        for (const value of equal.gradient) expect(Math.abs(value)).toBeLessThan(1e-5);
        for (const value of evaluate({ teacher, auxiliary }, { ...plain, beta }).value)
          expect(value).toBeGreaterThan(1e-4);
      }),
      { numRuns: 30 },
    );
  });

  it('has the gradient of its value by finite differences, with rows that sum to 0', () => {
    fc.assert(
      fc.property(seeds, fc.constantFrom(0, 1, 0.3, -0.2), (seed, beta) => {
        const given = randomCase(seed);
        const kl = (auxiliary: Float32Array) => {
          let sum = 0;
          for (let row = 0; row < batch * length; row++) {
            const { forward, reverse } = klOfRow({ ...given, auxiliary }, row);
            sum += (1 - beta) * forward + beta * reverse;
          }
          return sum;
        };
        const { gradient } = evaluate({ teacher: given.teacher, auxiliary: given.auxiliary }, { ...plain, beta });
        for (const i of [0, 7, 13, 29]) {
          const at = (change: number) => {
            const moved = given.auxiliary.slice();
            moved[i] = moved[i]! + change;
            return { value: kl(moved), where: moved[i] };
          };
          const [high, low] = [at(2 ** -8), at(-(2 ** -8))];
          // The step is a power of two, so float32 logits move by it up to rounding; the error is O(step^2) = 2e-5.
          expect(gradient[i]).toBeCloseTo((high.value - low.value) / (high.where - low.where), 3);
        }
        for (let row = 0; row < batch * length; row++)
          expect(Math.abs(gradient.slice(row * numLogits, (row + 1) * numLogits).reduce((a, b) => a + b))).toBeLessThan(
            1e-5,
          );
      }),
      { numRuns: 20 },
    );
  });

  it('multiplies value and gradient by the weight', () => {
    const given = randomCase(1);
    const weights = [1, 0, 2, 0, 1, 0];
    const full = evaluate({ teacher: given.teacher, auxiliary: given.auxiliary }, plain);
    const weighted = evaluate({ teacher: given.teacher, auxiliary: given.auxiliary, weights }, plain);
    weights.forEach((weight, row) => {
      expect(weighted.value[row]).toBeCloseTo(full.value[row]! * weight, 6);
      for (let v = 0; v < numLogits; v++)
        expect(weighted.gradient[row * numLogits + v]).toBeCloseTo(full.gradient[row * numLogits + v]! * weight, 6);
    });
  });

  it('guides the teacher per sample; scale 1 is the conditional teacher', () => {
    const given = randomCase(2);
    const combined = given.teacher.map((c, i) => {
      const scale = i < length * numLogits ? 1 : 2.5;
      return given.unconditional![i]! + scale * (c - given.unconditional![i]!);
    });
    const guided = evaluate({ ...given, scale: [1, 2.5] }, plain);
    const expected = evaluate({ teacher: combined, auxiliary: given.auxiliary }, plain);
    const conditional = evaluate({ teacher: given.teacher, auxiliary: given.auxiliary }, plain);
    guided.gradient.forEach((g, i) => expect(g).toBeCloseTo(expected.gradient[i]!, 5));
    guided.value.slice(0, length).forEach((value, i) => expect(value).toBeCloseTo(conditional.value[i]!, 5));
  });

  it('stays finite for extreme logits', () => {
    const n = batch * length * numLogits;
    const teacher = Float32Array.from({ length: n }, (_, i) => (i % 5 === 0 ? 80 : -80));
    const auxiliary = Float32Array.from({ length: n }, (_, i) => (i % 5 === 1 ? 80 : -80));
    for (const beta of [0, 1, -0.2]) {
      const { value, gradient } = evaluate({ teacher, auxiliary }, { ...plain, beta });
      expect([...value, ...gradient].every(Number.isFinite)).toBe(true);
    }
  });
});

describe('divergence options', () => {
  it('are a weight of the reverse KL', () => {
    expect(divergenceBeta({ kind: 'forward-kl' })).toBe(0);
    expect(divergenceBeta({ kind: 'reverse-kl' })).toBe(1);
    expect(divergenceBeta({ kind: 'jeffreys', beta: -0.2 })).toBe(-0.2);
    expect(() => divergenceBeta({ kind: 'jeffreys', beta: NaN })).toThrow('beta must be a finite number');
    expect(() => divergenceBeta({ kind: 'hellinger' } as never)).toThrow('"forward-kl", "reverse-kl" or "jeffreys"');
  });
});
