/** For tests: kernels against core's compositions of tfjs' own kernels, on the adapter that `startTestAdapter` opened. */
import { randomStream } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { expect } from 'vitest';
import { gpuErrors } from './adapter.js';
import { registerWebgpuKernels, unregisterWebgpuKernels } from '../webgpu/register.js';
import { gpuTuning, softwareTuning, type Tuning } from '../webgpu/rows.js';

/**
 * Both sides are float32: they differ by the order of sums and by the last bits of exp and erf, relative to the largest
 * number that entered.
 */
export const tolerance = 2e-5;

/** A software adapter compiles each program for a second or more where its own cache is empty. */
export const timeout = 300_000;

/** A software adapter checks the programs for real GPUs too. */
export const tunings: Readonly<Record<string, Tuning>> = {
  'a software adapter': softwareTuning,
  // Tiled products have tests of their own: each of their programs takes a software adapter seconds to compile.
  'a GPU': { ...gpuTuning, matrixProduct: 'direct' },
};

let current: Tuning = softwareTuning;

/** Registers all kernels, shaped so. */
export function useTuning(tuning: Tuning): void {
  current = tuning;
  registerWebgpuKernels({ tuning });
}

/** Lengths and batch sizes, odd ones included. */
export const length = fc.integer({ min: 1, max: 70 });
export const batch = fc.integer({ min: 1, max: 5 });

let count = 0;
/** Normal numbers, other ones at every call. */
export function normal(shape: readonly number[], scale = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(
    randomStream(3, 0, `kernels/${count++}`)
      .normal(size)
      .map((value) => value * scale),
    [...shape],
  );
}
/** Numbers in [0, 1). */
export function uniform(shape: readonly number[]): Tensor {
  return tf.tensor(randomStream(3, 1, `kernels/${count++}`).uniform(shape.reduce((a, b) => a * b, 1)), [...shape]);
}
/** int32 in [0, below). */
export function integers(shape: readonly number[], below: number): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(randomStream(3, 2, `kernels/${count++}`).integers(size, below), [...shape], 'int32');
}

/** Runs `compute` with the kernels and without; every result must agree. */
export async function agree(compute: () => Tensor[], limit = tolerance): Promise<void> {
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
export function withGradients(f: (...args: Tensor[]) => Tensor, args: Tensor[]): () => Tensor[] {
  const weights = new Map<string, Tensor>();
  return () => {
    const value = f(...args);
    const key = value.shape.join();
    if (!weights.has(key)) weights.set(key, tf.keep(normal(value.shape)));
    const scalarOf = (...xs: Tensor[]) => tf.sum(tf.mul(f(...xs), weights.get(key)!)) as tf.Scalar;
    return [value, ...tf.grads(scalarOf)(args)];
  };
}

/** A few random cases, the same in every run. */
export async function forAll<T extends unknown[]>(
  arbitraries: { [I in keyof T]: fc.Arbitrary<T[I]> },
  check: (...values: T) => Promise<void>,
  numRuns = 5,
): Promise<void> {
  const property = fc.asyncProperty(...(arbitraries as unknown as [fc.Arbitrary<unknown>]), async (...values) => {
    await check(...(values as unknown as T));
  });
  await fc.assert(property, { numRuns, seed: 5 });
}
