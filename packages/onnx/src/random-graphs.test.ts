/**
 * Random graphs on shapes that models do not have, traced and run on onnxruntime, against tfjs' cpu backend. The law is
 * equality, element by element: inputs are multiples of 1/4, so that sums are exact in any order, and what is rounded
 * goes into nothing that could jump.
 */
import type { HostTensor, HostTree } from '@dimo/core';
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { expectTracedEqualsEager } from './test-support/oracle.js';
import { graphOf } from './test-support/random-graph.js';

/** Multiples of 1/4 with repetitions, integers, and booleans. */
function hostTensor(shape: readonly number[], seed: number, dtype: 'float32' | 'int32' | 'bool'): HostTensor {
  const size = shape.reduce((product_, length) => product_ * length, 1);
  const values = Array.from({ length: size }, (_, i) => ((seed * 31 + i * 17 + ((i * i) % 5)) % 15) - 7);
  if (dtype === 'float32') return { dtype, shape, data: Float32Array.from(values, (value) => value / 4) };
  if (dtype === 'int32') return { dtype, shape, data: Int32Array.from(values) };
  return { dtype, shape, data: Uint8Array.from(values, (value) => Number(value % 2 !== 0)) };
}

const shapes = fc.oneof(
  { weight: 8, arbitrary: fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 4 }) },
  { weight: 2, arbitrary: fc.constantFrom([3, 3], [2, 2, 2], [4], [1, 1, 4, 4], [2, 1, 2, 1, 2]) },
  { weight: 1, arbitrary: fc.constantFrom([0], [2, 0], [0, 3]) },
);

describe('random graphs', () => {
  it.each([1, 2])('are what the cpu backend computes, series %i', { timeout: 300_000 }, async (seed) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(shapes, { minLength: 1, maxLength: 2 }),
        fc.array(fc.array(fc.nat(1000), { minLength: 4, maxLength: 9 }), { minLength: 4, maxLength: 16 }),
        async (chosen, choices) => {
          const inputs: HostTree = {};
          chosen.forEach((shape, i) => {
            for (const dtype of ['float32', 'int32', 'bool'] as const)
              inputs[`${dtype}${i}`] = hostTensor(shape, i + seed, dtype);
          });
          await expectTracedEqualsEager(graphOf(choices), inputs);
        },
      ),
      { numRuns: 50, seed },
    );
  });
});
