/** Device trees and compiled functions: transfers, state, errors, lifetime. */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, PureFunction } from '../engine/engine.js';
import { DimoError } from '../errors.js';
import { bool, float32, int32, scalar, specsOf, type HostTree } from '../tensors/tensors.js';
import type { EngineCheck } from './engine-check.js';
import { require, requireEqual, requireFailure, tensorOf } from './expectations.js';
import { runOnce } from './op-checks.js';
import { normal } from './op-cases.js';

const special = [0, -0, 1, -1.5, NaN, Infinity, -Infinity, 3.4028234663852886e38, 1.1754943508222875e-38];

/** Values of every dtype, special ones included. */
const everything: HostTree = {
  'model/layer.0.weight': float32([3, 3], special),
  scalar: scalar(-2.5),
  integers: int32([5], [0, -1, 2147483647, -2147483648, 16777217]),
  flags: bool([2, 2], [1, 0, 0, 1]),
};

/** x -> x + amount, with the old value as output. */
const increment: PureFunction = ({ x }, { amount }) => ({ state: { x: tf.add(x!, amount!) }, outputs: { before: x! } });
const incrementSignature = {
  state: { x: { dtype: 'float32', shape: [2] } },
  inputs: { amount: { dtype: 'float32', shape: [] } },
} as const;

async function requireState(engine: Engine, state: Awaited<ReturnType<Engine['upload']>>, expected: HostTree) {
  const actual = await state.download();
  for (const [name, tensor] of Object.entries(expected)) requireEqual(name, tensorOf(actual, name), tensor);
}

/** Checks of transfers, state and errors. */
export function stateChecks(): EngineCheck[] {
  return [
    { name: 'upload and download keep every value, dtype and shape', run: checkRoundTrip },
    { name: 'download reads only the tensors that are named', run: checkPartialDownload },
    { name: 'assign replaces some tensors and refuses what does not fit', run: checkAssign },
    { name: 'host memory is never shared with the device', run: checkNoAliasing },
    { name: 'a run replaces the state that the function returns', run: checkStateUpdate },
    { name: 'a function may exchange two state tensors or return its arguments', run: checkExchange },
    { name: 'functions share a tree and use a part of it; trees do not share', run: checkSharedTree },
    { name: 'runs that are not awaited are done in order', run: checkOrder },
    { name: 'int32 and bool are computed exactly', run: checkIntegers },
    { name: 'arguments that do not fit are ShapeErrors and change nothing', run: checkShapeErrors },
    { name: 'a failed run leaves the state unchanged', run: checkFailedRun },
    { name: 'returned state that does not fit the signature is refused', run: checkReturnedState },
    { name: 'what was disposed is refused', run: checkDisposed },
  ];
}

async function checkRoundTrip(engine: Engine): Promise<void> {
  const tree = await engine.upload(everything);
  for (const [name, { dtype, shape }] of Object.entries(everything))
    require(tree.specs[name]?.dtype === dtype && tree.specs[name].shape.join() === shape.join(), () =>
      `specs of "${name}" are wrong`);
  await requireState(engine, tree, everything);
  await tree.dispose();
}

async function checkPartialDownload(engine: Engine): Promise<void> {
  const tree = await engine.upload(everything);
  const names = Object.keys(await tree.download(['flags', 'scalar']));
  require(names.sort().join() === 'flags,scalar', () => `expected flags and scalar, got ${names.join()}`);
  await requireFailure('download of an unknown name', () => tree.download(['nothing']));
  await tree.dispose();
}

async function checkAssign(engine: Engine): Promise<void> {
  const tree = await engine.upload({ a: float32([2], [1, 2]), b: int32([1], [3]) });
  await tree.assign({ a: float32([2], [5, 6]) });
  const after = { a: float32([2], [5, 6]), b: int32([1], [3]) };
  await requireState(engine, tree, after);
  await requireFailure('assign of another shape', () => tree.assign({ a: float32([3]) }), 'shape');
  await requireFailure('assign of another dtype', () => tree.assign({ b: float32([1]) }), 'shape');
  await requireFailure('assign of an unknown name', () => tree.assign({ a: float32([2]), c: float32([1]) }), 'shape');
  await requireState(engine, tree, after);
  await tree.dispose();
}

async function checkNoAliasing(engine: Engine): Promise<void> {
  const given = float32([2], [1, 2]);
  // A view into a larger buffer, as batches of a data set are.
  const amount = float32([], new Float32Array([9, 10, 9]).subarray(1, 2));
  const tree = await engine.upload({ x: given });
  given.data.fill(99);
  await requireState(engine, tree, { x: float32([2], [1, 2]) });
  (await tree.download())['x']!.data.fill(98);
  await requireState(engine, tree, { x: float32([2], [1, 2]) });
  const compiled = await engine.compile(increment, incrementSignature);
  const outputs = await compiled.run(tree, { amount });
  requireEqual('amount after the run', amount, scalar(10));
  tensorOf(outputs, 'before').data.fill(97);
  await compiled.run(tree, { amount });
  await requireState(engine, tree, { x: float32([2], [21, 22]) });
  requireEqual('an earlier output after a later run', tensorOf(outputs, 'before'), float32([2], [97, 97]));
  await compiled.dispose();
  await tree.dispose();
}

async function checkStateUpdate(engine: Engine): Promise<void> {
  const tree = await engine.upload({ x: float32([2], [1, 2]) });
  const compiled = await engine.compile(increment, incrementSignature);
  for (let i = 0; i < 5; i++) {
    const { before } = await compiled.run(tree, { amount: scalar(i) });
    const added = (i * (i - 1)) / 2; // 0 + 1 + ... + (i - 1)
    requireEqual(`output of run ${i}`, before!, float32([2], [1 + added, 2 + added]));
  }
  await requireState(engine, tree, { x: float32([2], [11, 12]) });
  await tree.assign({ x: float32([2], [0, 0]) });
  await compiled.run(tree, { amount: scalar(7) });
  await requireState(engine, tree, { x: float32([2], [7, 7]) });
  await compiled.dispose();
  await tree.dispose();
}

async function checkExchange(engine: Engine): Promise<void> {
  const values = { a: float32([2], [1, 2]), b: float32([2], [3, 4]) };
  const tree = await engine.upload(values);
  const compiled = await engine.compile(
    ({ a, b }, { c }) => ({ state: { a: b!, b: a! }, outputs: { a: a!, b: b!, c: c!, again: c! } }),
    { state: specsOf(values), inputs: { c: { dtype: 'int32', shape: [2] } } },
  );
  const c = int32([2], [7, 8]);
  for (let i = 0; i < 3; i++) {
    const outputs = await compiled.run(tree, { c });
    requireEqual('a', tensorOf(outputs, 'a'), i % 2 ? values.b : values.a);
    requireEqual('b', tensorOf(outputs, 'b'), i % 2 ? values.a : values.b);
    requireEqual('c', tensorOf(outputs, 'c'), c);
    requireEqual('again', tensorOf(outputs, 'again'), c);
  }
  await requireState(engine, tree, { a: values.b, b: values.a });
  await compiled.dispose();
  await tree.dispose();
}

async function checkSharedTree(engine: Engine): Promise<void> {
  const values = { x: float32([2], [1, 2]), y: float32([2], [5, 5]) };
  const [first, second] = [await engine.upload(values), await engine.upload(values)];
  const onX = await engine.compile(increment, incrementSignature);
  const onBoth = await engine.compile(({ x, y }) => ({ state: { y: tf.mul(x!, y!) }, outputs: {} }), {
    state: specsOf(values),
    inputs: {},
  });
  await onX.run(first, { amount: scalar(1) });
  await onBoth.run(first, {});
  await onX.run(first, { amount: scalar(1) });
  await requireState(engine, first, { x: float32([2], [3, 4]), y: float32([2], [10, 15]) });
  await requireState(engine, second, values);
  for (const item of [onX, onBoth, first, second]) await item.dispose();
}

async function checkOrder(engine: Engine): Promise<void> {
  const tree = await engine.upload({ x: float32([2], [0, 0]) });
  const double = await engine.compile(
    ({ x }, { amount }) => ({ state: { x: tf.add(tf.mul(x!, 2), amount!) }, outputs: {} }),
    incrementSignature,
  );
  const runs = [1, 0, 1, 1].map((amount) => double.run(tree, { amount: scalar(amount) }));
  const state = tree.download();
  await Promise.all(runs);
  requireEqual('x', tensorOf(await state, 'x'), float32([2], [11, 11])); // binary 1011
  await double.dispose();
  await tree.dispose();
}

async function checkIntegers(engine: Engine): Promise<void> {
  const inputs = {
    a: int32([4], [16777217, -7, 2, 100000]),
    b: int32([4], [1, 3, 5, 20000]),
    isChosen: bool([4], [1, 0, 1, 0]),
  };
  const results = await runOnce(
    engine,
    (_, { a, b, isChosen }) => ({
      outputs: {
        added: tf.add(a!, b!),
        subtracted: tf.sub(a!, b!),
        multiplied: tf.mul(a!, b!),
        larger: tf.greater(a!, b!),
        // Below 2^24, as token ids are: tfjs' WebGPU kernel selects in float32.
        chosen: tf.where(isChosen!, tf.sub(a!, tf.scalar(1000, 'int32')), b!),
        inverted: tf.logicalNot(isChosen!),
        counted: tf.sum(tf.cast(isChosen!, 'int32')),
        asFloat: tf.cast(isChosen!, 'float32'),
        truncated: tf.cast(tf.div(tf.cast(a!, 'float32'), 2), 'int32'),
        position: tf.argMax(tf.stack([a!, b!], 1), 1),
      },
    }),
    inputs,
  );
  const expected: HostTree = {
    added: int32([4], [16777218, -4, 7, 120000]),
    subtracted: int32([4], [16777216, -10, -3, 80000]),
    multiplied: int32([4], [16777217, -21, 10, 2000000000]),
    larger: bool([4], [1, 0, 0, 1]),
    chosen: int32([4], [16776217, 3, -998, 20000]),
    inverted: bool([4], [0, 1, 0, 1]),
    counted: int32([], [2]),
    asFloat: float32([4], [1, 0, 1, 0]),
    truncated: int32([4], [8388608, -3, 1, 50000]),
    position: int32([4], [0, 1, 1, 0]),
  };
  for (const [name, tensor] of Object.entries(expected)) requireEqual(name, tensorOf(results, name), tensor);
}

async function checkShapeErrors(engine: Engine): Promise<void> {
  const x = float32([2], [1, 2]);
  const tree = await engine.upload({ x });
  const compiled = await engine.compile(increment, incrementSignature);
  const wrong: Record<string, HostTree> = {
    'a missing input': {},
    'an unknown input': { amount: scalar(1), more: scalar(1) },
    'another shape': { amount: float32([1], [1]) },
    'another dtype': { amount: int32([], [1]) },
  };
  for (const [name, inputs] of Object.entries(wrong))
    await requireFailure(name, () => compiled.run(tree, inputs), 'shape');
  const other = await engine.upload({ y: x });
  await requireFailure('a tree without the state', () => compiled.run(other, { amount: scalar(1) }), 'shape');
  const longer = await engine.upload({ x: float32([3]) });
  await requireFailure('state of another shape', () => compiled.run(longer, { amount: scalar(1) }), 'shape');
  await requireState(engine, tree, { x });
  await compiled.run(tree, { amount: scalar(1) });
  for (const item of [compiled, tree, other, longer]) await item.dispose();
}

/** An index outside the table fails on engines that check it; the others may return anything, but not fail halfway. */
async function checkFailedRun(engine: Engine): Promise<void> {
  const values = { table: normal('table', [4, 2]), count: float32([], [0]) };
  const tree = await engine.upload(values);
  const compiled = await engine.compile(
    ({ table, count }, { ids }) => ({
      state: { count: tf.add(count!, 1), table: tf.mul(table!, 2) },
      outputs: { rows: tf.gather(table!, ids as tf.Tensor1D) },
    }),
    { state: specsOf(values), inputs: { ids: { dtype: 'int32', shape: [2] } } },
  );
  const failure = await compiled.run(tree, { ids: int32([2], [1, 1000]) }).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (failure !== undefined) {
    require(DimoError.isInstance(failure), () => `expected a DimoError, got ${String(failure)}`);
    await requireState(engine, tree, values);
  }
  const { rows } = await compiled.run(tree, { ids: int32([2], [1, 3]) });
  require(rows!.data.every(Number.isFinite), () => 'the run after a failed run gives no numbers');
  await compiled.dispose();
  await tree.dispose();
}

async function checkReturnedState(engine: Engine): Promise<void> {
  const values = { x: float32([2], [1, 2]) };
  const bad: Record<string, PureFunction> = {
    'another shape': ({ x }) => ({ state: { x: tf.sum(x!) }, outputs: {} }),
    'another dtype': ({ x }) => ({ state: { x: tf.cast(x!, 'int32') }, outputs: {} }),
    'an unknown name': ({ x }) => ({ state: { y: x! }, outputs: {} }),
  };
  for (const [name, fn] of Object.entries(bad)) {
    const tree = await engine.upload(values);
    await requireFailure(name, async () => {
      const compiled = await engine.compile(fn, { state: specsOf(values), inputs: {} });
      await compiled.run(tree, {});
    });
    await requireState(engine, tree, values);
    await tree.dispose();
  }
}

async function checkDisposed(engine: Engine): Promise<void> {
  const tree = await engine.upload({ x: float32([2]) });
  const compiled = await engine.compile(increment, incrementSignature);
  await tree.dispose();
  await tree.dispose(); // twice does no harm
  await requireFailure('run with a disposed tree', () => compiled.run(tree, { amount: scalar(1) }), 'option');
  await compiled.dispose();
  await compiled.dispose();
}
