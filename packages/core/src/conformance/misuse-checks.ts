/** What callers get wrong: each is a typed error, and the engine goes on as if it had not been asked. */
import * as tf from '@tensorflow/tfjs-core';
import type { CompiledFunction, Engine, PureFunction } from '../engine/engine.js';
import { DimoError } from '../errors.js';
import { float32, int32, scalar, specsOf, type HostTensor, type HostTree, type SpecTree } from '../tensors/tensors.js';
import type { EngineCheck, EngineCheckOptions } from './engine-check.js';
import { require, requireEqual, requireFailure, tensorOf } from './expectations.js';

/** A tensor that is none, as JavaScript callers and files make them. */
const malformed = (tensor: object | null): HostTree => ({ x: tensor as HostTensor });

const float = (shape: unknown, data: unknown = new Float32Array(2)): HostTree =>
  malformed({ dtype: 'float32', shape, data });

/** Trees that must be refused wherever tensors are given. */
const brokenTrees: Readonly<Record<string, unknown>> = {
  'no tree': undefined,
  'null for a tree': null,
  'a list for a tree': [float32([2])],
  'null for a tensor': malformed(null),
  'a tensor without a shape': malformed({ dtype: 'float32', data: new Float32Array(2) }),
  'a tensor without data': malformed({ dtype: 'float32', shape: [2] }),
  'a list of numbers for data': float([2], [1, 2]),
  'bytes for data': float([2], new ArrayBuffer(8)),
  'too few elements': float([3]),
  'too many elements': float([1]),
  'a negative length': float([-2]),
  'two negative lengths': float([-1, -2]),
  'a fraction as a length': float([0.5, 4]),
  'NaN as a length': float([NaN]),
  'an infinite length': float([Infinity]),
  'text as a length': float(['2']),
  'a length of 1e9 by 1e9': float([1e9, 1e9]),
  'lengths whose product wraps to 2 in 64 bits': float([2 ** 32, 2 ** 32, 2]),
  'an unknown dtype': malformed({ dtype: 'float64', shape: [2], data: new Float64Array(2) }),
  'the name of a method as a dtype': malformed({ dtype: 'toString', shape: [2], data: new Float32Array(2) }),
  'integers as float32': float([2], new Int32Array(2)),
  'numbers as int32': malformed({ dtype: 'int32', shape: [2], data: new Float32Array(2) }),
  'booleans of 2': malformed({ dtype: 'bool', shape: [2], data: Uint8Array.of(1, 2) }),
};

/** Specifications that must be refused when a function is compiled. */
const brokenSpecs: Readonly<Record<string, unknown>> = {
  'no specifications': undefined,
  'null for a specification': { x: null },
  'a batch of -1': { x: { dtype: 'float32', shape: [-1] } },
  'a batch of NaN': { x: { dtype: 'float32', shape: [NaN, 2] } },
  'a batch of 1.5': { x: { dtype: 'float32', shape: [1.5, 2] } },
  'a batch of 1e9 rows': { x: { dtype: 'float32', shape: [1e9, 64] } },
  'an unknown dtype': { x: { dtype: 'complex64', shape: [2] } },
};

const vector = { dtype: 'float32', shape: [2] } as const;
const increment: PureFunction = ({ x }, { amount }) => ({ state: { x: tf.add(x!, amount!) }, outputs: { before: x! } });
const incrementSignature = { state: { x: vector }, inputs: { amount: { dtype: 'float32', shape: [] } } } as const;
const start = () => ({ x: float32([2], [1, 2]) });

/** Checks of wrong arguments, of what is used after its end, and of calls that cross. */
export function misuseChecks({ create }: Pick<EngineCheckOptions, 'create'>): EngineCheck[] {
  return [
    { name: 'what is no tensor is a ShapeError wherever it is given', run: checkBrokenTrees },
    { name: 'specifications that no tensor can have are ShapeErrors', run: checkBrokenSpecs },
    { name: 'functions that return no tensors, or throw, are DimoErrors', run: checkBrokenFunctions },
    { name: 'names of methods are names like any other', run: checkMethodNames },
    { name: 'empty trees and tensors without elements go through', run: checkEmpty },
    { name: 'NaN and infinity are passed on as they are', run: checkNonFinite },
    { name: 'calls that cross do not disturb each other', run: checkCrossing },
    { name: 'a tree or function disposed while it is used ends well', run: checkDisposedWhileUsed },
    {
      name: 'a disposed engine refuses everything, twice disposed too',
      run: () => checkDisposedEngine(create!),
      ...(create ? {} : { skip: 'no `create` was given to make an engine that may be disposed' }),
    },
  ];
}

/** A tree and a function that must still work. */
async function withLive(
  engine: Engine,
  use: (tree: Awaited<ReturnType<Engine['upload']>>, compiled: CompiledFunction) => Promise<void>,
): Promise<void> {
  const tree = await engine.upload(start());
  const compiled = await engine.compile(increment, incrementSignature);
  await use(tree, compiled);
  requireEqual('x afterwards', tensorOf(await tree.download(), 'x'), start().x);
  await compiled.run(tree, { amount: scalar(1) });
  requireEqual('x after a good run', tensorOf(await tree.download(), 'x'), float32([2], [2, 3]));
  await compiled.dispose();
  await tree.dispose();
}

async function checkBrokenTrees(engine: Engine): Promise<void> {
  await withLive(engine, async (tree, compiled) => {
    for (const [name, broken] of Object.entries(brokenTrees)) {
      await requireFailure(`upload of ${name}`, () => engine.upload(broken as HostTree), 'shape');
      await requireFailure(`assign of ${name}`, () => tree.assign(broken as HostTree), 'shape');
      const inputs = broken && !Array.isArray(broken) ? { amount: (broken as HostTree)['x'] } : broken;
      await requireFailure(`run with ${name}`, () => compiled.run(tree, inputs as HostTree), 'shape');
    }
  });
}

async function checkBrokenSpecs(engine: Engine): Promise<void> {
  const identity: PureFunction = (_, { x }) => ({ outputs: { x: tf.clone(x!) } });
  for (const [name, broken] of Object.entries(brokenSpecs)) {
    const specs = broken as SpecTree;
    await requireFailure(`inputs: ${name}`, () => engine.compile(identity, { state: {}, inputs: specs }), 'shape');
    await requireFailure(`state: ${name}`, () => engine.compile(identity, { state: specs, inputs: {} }), 'shape');
  }
}

async function checkBrokenFunctions(engine: Engine): Promise<void> {
  const broken: Readonly<Record<string, unknown>> = {
    'nothing is returned': () => undefined,
    'no outputs are returned': () => ({}),
    'a number is returned': () => ({ outputs: { x: 1 } }),
    'an error is thrown': () => {
      throw new Error('a defect of the caller');
    },
    'something else is thrown': () => {
      throw 'text';
    },
  };
  await withLive(engine, async (tree) => {
    for (const [name, fn] of Object.entries(broken))
      await requireFailure(name, async () => {
        const compiled = await engine.compile(fn as PureFunction, { state: { x: vector }, inputs: {} });
        await compiled.run(tree, {});
      });
  });
}

async function checkMethodNames(engine: Engine): Promise<void> {
  const values: HostTree = { constructor: float32([1], [1]), toString: float32([1], [2]) };
  const tree = await engine.upload(values);
  for (const [name, tensor] of Object.entries(values))
    requireEqual(name, tensorOf(await tree.download([name]), name), tensor);
  const compiled = await engine.compile(
    (state) => ({ state: { constructor: tf.mul(state['constructor'] as unknown as tf.Tensor, 3) }, outputs: {} }),
    { state: specsOf(values), inputs: {} },
  );
  await compiled.run(tree, {});
  requireEqual('constructor', tensorOf(await tree.download(), 'constructor'), float32([1], [3]));
  const plain = await engine.upload({ x: float32([1]) });
  for (const name of ['constructor', '__proto__', 'hasOwnProperty'])
    await requireFailure(`download of ${name}`, () => plain.download([name]), 'shape');
  for (const item of [compiled, tree, plain]) await item.dispose();
}

async function checkEmpty(engine: Engine): Promise<void> {
  const tree = await engine.upload({});
  require(Object.keys(await tree.download()).length === 0, () => 'an empty tree must download as an empty tree');
  const answer = await engine.compile(() => ({ outputs: { x: tf.add(tf.ones([2]), 1) } }), { state: {}, inputs: {} });
  requireEqual('x', tensorOf(await answer.run(tree, {}), 'x'), float32([2], [2, 2]));
  await tree.assign({});
  const none = { none: float32([0, 3]), ids: int32([0]) };
  const without = await engine.upload(none);
  const found = await without.download();
  for (const [name, tensor] of Object.entries(none)) requireEqual(name, tensorOf(found, name), tensor);
  for (const item of [answer, tree, without]) await item.dispose();
}

async function checkNonFinite(engine: Engine): Promise<void> {
  const tree = await engine.upload({ x: float32([2], [1, Infinity]) });
  const compiled = await engine.compile(increment, incrementSignature);
  await compiled.run(tree, { amount: scalar(-Infinity) });
  requireEqual('x', tensorOf(await tree.download(), 'x'), float32([2], [-Infinity, NaN]));
  await compiled.run(tree, { amount: scalar(NaN) });
  requireEqual('x', tensorOf(await tree.download(), 'x'), float32([2], [NaN, NaN]));
  await compiled.dispose();
  await tree.dispose();
}

async function checkCrossing(engine: Engine): Promise<void> {
  const jobs = Array.from({ length: 4 }, async (_, i) => {
    const tree = await engine.upload({ x: float32([2], [i, 10 * i]) });
    const compiled = await engine.compile(
      ({ x }, { amount }) => ({ state: { x: tf.add(tf.mul(x!, i + 1), amount!) }, outputs: {} }),
      incrementSignature,
    );
    await Promise.all([compiled.run(tree, { amount: scalar(1) }), compiled.run(tree, { amount: scalar(2) })]);
    const once = (x: number, amount: number) => x * (i + 1) + amount;
    const x = [i, 10 * i].map((value) => once(once(value, 1), 2));
    requireEqual(`x of job ${i}`, tensorOf(await tree.download(), 'x'), float32([2], x));
    await compiled.dispose();
    await tree.dispose();
  });
  await Promise.all(jobs);
}

/** A call that was made before the end gives its result or a DimoError; one after it gives a DimoError. */
async function checkDisposedWhileUsed(engine: Engine): Promise<void> {
  const tree = await engine.upload(start());
  const compiled = await engine.compile(increment, incrementSignature);
  const before = compiled.run(tree, { amount: scalar(1) });
  const disposals = [tree.dispose(), compiled.dispose(), tree.dispose()];
  await requireResultOrDimoError('a run begun before', before, (result) =>
    requireEqual('before', tensorOf(result, 'before'), start().x),
  );
  await Promise.all(disposals);
  await requireFailure('a run afterwards', () => compiled.run(tree, { amount: scalar(1) }), 'option');
  await requireFailure('a download afterwards', () => tree.download(), 'option');
  await requireFailure('an assignment afterwards', () => tree.assign(start()), 'option');
  const another = await engine.upload(start());
  await requireFailure('a disposed function', () => compiled.run(another, { amount: scalar(1) }), 'option');
  requireEqual('x', tensorOf(await another.download(), 'x'), start().x);
  await another.dispose();
}

async function checkDisposedEngine(create: () => Promise<Engine>): Promise<void> {
  const engine = await create();
  const tree = await engine.upload(start());
  const compiled = await engine.compile(increment, incrementSignature);
  const pending = compiled.run(tree, { amount: scalar(1) });
  pending.catch(() => {});
  await Promise.all([engine.dispose(), engine.dispose()]);
  await requireResultOrDimoError('a run begun before', pending, () => {});
  await engine.dispose();
  await requireFailure('upload', () => engine.upload(start()), 'option');
  await requireFailure('compile', () => engine.compile(increment, incrementSignature), 'option');
  await requireFailure('run', () => compiled.run(tree, { amount: scalar(1) }), 'option');
  await requireFailure('download', () => tree.download(), 'option');
  await requireFailure('assign', () => tree.assign(start()), 'option');
  await tree.dispose();
  await compiled.dispose();
  const next = await create();
  await withLive(next, async () => {});
  await next.dispose();
}

async function requireResultOrDimoError<T>(where: string, call: Promise<T>, check: (result: T) => void): Promise<void> {
  const outcome = await call.then(
    (result) => ({ result }),
    (error: unknown) => ({ error }),
  );
  if ('result' in outcome) check(outcome.result);
  else
    require(DimoError.isInstance(outcome.error), () =>
      `${where}: expected a result or a DimoError, got ${String(outcome.error)}`);
}
