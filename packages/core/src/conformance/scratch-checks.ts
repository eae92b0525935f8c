/** State tensors under other names, scratch between functions, and memory that is moved. */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine, PureFunction } from '../engine/engine.js';
import { float32, scalar } from '../tensors/tensors.js';
import type { EngineCheck } from './engine-check.js';
import { require, requireEqual, requireFailure, tensorOf } from './expectations.js';

const pair = { dtype: 'float32', shape: [2] } as const;
const amount = { dtype: 'float32', shape: [] } as const;

/** x -> x + amount. */
const increment: PureFunction = ({ x }, { amount: by }) => ({ state: { x: tf.add(x!, by!) }, outputs: {} });

/** Checks of what functions hand each other. */
export function scratchChecks(): EngineCheck[] {
  return [
    { name: 'one function runs on several sets of tensors, under its own names for them', run: checkNames },
    { name: 'scratch carries values from function to function and is no part of the tree', run: checkScratch },
    { name: 'tensors that shared memory when they were moved are changed apart', run: checkMovedTogether },
  ];
}

async function checkNames(engine: Engine): Promise<void> {
  const tree = await engine.upload({ a: float32([2], [1, 2]), b: float32([2], [3, 4]), c: float32([1], [5]) });
  const compiled = await engine.compile(({ x, y }) => ({ state: { x: tf.add(x!, y!) }, outputs: { y: y! } }), {
    state: { x: pair, y: pair },
    inputs: {},
  });
  const { y } = await compiled.run(tree, {}, { x: 'a', y: 'b' });
  requireEqual('y', y!, float32([2], [3, 4]));
  await compiled.run(tree, {}, { x: 'b', y: 'a' });
  const refused: Record<string, Record<string, string>> = {
    'a missing name': { x: 'a' },
    'a name too many': { x: 'a', y: 'b', z: 'c' },
    'two names of one tensor': { x: 'a', y: 'a' },
    'a tensor that there is not': { x: 'a', y: 'z' },
    'a tensor of another shape': { x: 'a', y: 'c' },
  };
  for (const [name, names] of Object.entries(refused))
    await requireFailure(name, () => compiled.run(tree, {}, names), 'shape');
  await requireFailure('names of its own that the tree does not have', () => compiled.run(tree, {}), 'shape');
  const after = await tree.download();
  requireEqual('a', tensorOf(after, 'a'), float32([2], [4, 6]));
  requireEqual('b', tensorOf(after, 'b'), float32([2], [7, 10]));
  await compiled.dispose();
  await tree.dispose();
}

async function checkScratch(engine: Engine): Promise<void> {
  const tree = await engine.upload({ x: float32([2], [1, 2]) }, { scratch: { kept: pair } });
  const names = (list: object) => Object.keys(list).join();
  require(names(tree.specs) === 'x', () => `the tree has ${names(tree.specs)}`);
  const state = { x: pair, kept: pair };
  const write = await engine.compile(({ x }, { amount: by }) => ({ state: { kept: tf.mul(x!, by!) }, outputs: {} }), {
    state,
    inputs: { amount },
  });
  const read = await engine.compile(
    ({ x, kept }) => ({ state: { x: tf.add(x!, kept!), kept: tf.add(kept!, 1) }, outputs: { kept: kept! } }),
    { state, inputs: {} },
  );
  await requireFailure('scratch read before it is written', () => read.run(tree, {}));
  for (const by of [3, 10]) await write.run(tree, { amount: scalar(by) });
  requireEqual('kept', tensorOf(await read.run(tree, {}), 'kept'), float32([2], [10, 20]));
  const after = await tree.download();
  require(names(after) === 'x', () => `a download of everything has ${names(after)}`);
  requireEqual('x', tensorOf(after, 'x'), float32([2], [11, 22]));
  requireEqual('kept', tensorOf(await tree.download(['kept']), 'kept'), float32([2], [11, 21]));
  await tree.assign({ kept: float32([2], [5, 6]) });
  await read.run(tree, {});
  requireEqual('x', tensorOf(await tree.download(), 'x'), float32([2], [16, 28]));
  for (const item of [write, read, tree]) await item.dispose();
}

async function checkMovedTogether(engine: Engine): Promise<void> {
  const given = float32([2], [1, 2]);
  const tree = await engine.upload({ a: given, b: given, c: given }, { move: true });
  const compiled = await engine.compile(increment, { state: { x: pair }, inputs: { amount } });
  for (let i = 0; i < 3; i++) {
    await compiled.run(tree, { amount: scalar(1) }, { x: 'a' });
    await compiled.run(tree, { amount: scalar(10) }, { x: 'b' });
  }
  requireEqual('c', tensorOf(await tree.download(['c']), 'c'), float32([2], [1, 2]));
  await tree.assign({ c: float32([2], [0, 0]) });
  const after = await tree.download();
  requireEqual('a', tensorOf(after, 'a'), float32([2], [4, 5]));
  requireEqual('b', tensorOf(after, 'b'), float32([2], [31, 32]));
  await compiled.dispose();
  await tree.dispose();
}
