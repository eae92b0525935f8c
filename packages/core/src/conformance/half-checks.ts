/** State that comes in 16 bits: an engine may keep it so or widen it, the numbers are the same. */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, PureFunction } from '../engine/engine.js';
import { halfTensor, type HalfFloats } from '../storage/half-tensors.js';
import { float32, scalar, specsOf, type HostTree } from '../tensors/tensors.js';
import type { EngineCheck } from './engine-check.js';
import { requireEqual, tensorOf } from './expectations.js';

/** 1, -2.5, 0, 2^-8 and their patterns. */
const numbers = [1, -2.5, 0, 2 ** -8];
const patterns: Readonly<Record<HalfFloats['format'], readonly number[]>> = {
  F16: [0x3c00, 0xc100, 0x0000, 0x1c00],
  BF16: [0x3f80, 0xc020, 0x0000, 0x3b80],
};

const treeOf = (format: HalfFloats['format']): HostTree => ({
  fixed: halfTensor([4], { format, bits: Uint16Array.from(patterns[format]) }),
  changing: halfTensor([4], { format, bits: Uint16Array.from(patterns[format]) }),
});

/** Reads both, replaces one. */
const step: PureFunction = ({ fixed, changing }, { amount }) => ({
  state: { changing: tf.add(changing!, amount!) },
  outputs: { sum: tf.add(fixed!, changing!) },
});

/** Checks of 16-bit state. */
export function halfChecks(): EngineCheck[] {
  return (['F16', 'BF16'] as const).flatMap((format) => [
    { name: `state in ${format} has the numbers of that type`, run: (engine) => checkNumbers(engine, format, false) },
    { name: `state in ${format} may be moved to the device`, run: (engine) => checkNumbers(engine, format, true) },
  ]);
}

async function checkNumbers(engine: Engine, format: HalfFloats['format'], move: boolean): Promise<void> {
  const specs = specsOf(treeOf(format));
  const tree = await engine.upload(treeOf(format), { move });
  const compiled = await engine.compile(step, { state: specs, inputs: { amount: { dtype: 'float32', shape: [] } } });
  requireEqual('downloaded', tensorOf(await tree.download(['fixed']), 'fixed'), float32([4], numbers));
  // A third has no 16-bit form: what a function replaces is float32.
  const third = Math.fround(1 / 3);
  const first = await compiled.run(tree, { amount: scalar(third) });
  const double = numbers.map((value) => 2 * value);
  requireEqual('sum of both', tensorOf(first, 'sum'), float32([4], double));
  const changed = numbers.map((value) => Math.fround(value + third));
  requireEqual('the new state', tensorOf(await tree.download(), 'changing'), float32([4], changed));
  const second = await compiled.run(tree, { amount: scalar(0) });
  const sums = changed.map((value, i) => Math.fround(value + numbers[i]!));
  requireEqual('sum with the new state', tensorOf(second, 'sum'), float32([4], sums));
  await compiled.dispose();
  await tree.dispose();
}
