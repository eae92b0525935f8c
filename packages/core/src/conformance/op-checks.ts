/** Values and gradients of all ops on an engine. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import type { Engine, PureFunction } from '../engine/engine.js';
import {
  adamUpdate,
  globalNorm,
  maskedCrossEntropy,
  sampleCategorical,
  softCrossEntropy,
  tokenDivergence,
  type AdamScalars,
  type AdamTensors,
  type TokenDivergenceAttributes,
} from '../ops/index.js';
import { float32, int32, scalar, specsOf, type HostTree } from '../tensors/tensors.js';
import type { EngineCheck, EngineCheckOptions } from './engine-check.js';
import { requireClose, requireEqual, tensorOf } from './expectations.js';
import * as host from './host-math.js';
import { at, build, rowAt, sum, type Reference } from './host-math.js';
import { normal, opCases, type OpCase } from './op-cases.js';

/** Compiles, runs once with everything as inputs, and cleans up. */
export async function runOnce(engine: Engine, fn: PureFunction, inputs: HostTree): Promise<HostTree> {
  const state = await engine.upload({});
  const compiled = await engine.compile(fn, { state: {}, inputs: specsOf(inputs) });
  try {
    return await compiled.run(state, inputs);
  } finally {
    await compiled.dispose();
    await state.dispose();
  }
}

function toReference(tree: HostTree): Record<string, Reference> {
  return Object.fromEntries(
    Object.entries(tree).map(([name, { shape, data }]) => [name, { shape, data: Float64Array.from(data) }]),
  );
}

/** Checks of every op. */
export function opChecks({ tolerance }: EngineCheckOptions): EngineCheck[] {
  return [
    ...opCases.map((op): EngineCheck => ({
      name: `${op.name}: value${op.isDifferentiable === false ? '' : ' and gradient'}`,
      run: (engine) => checkOp(engine, op, tolerance),
    })),
    { name: 'sampleCategorical inverts the cumulative distribution', run: checkSampling },
    ...[0, 1, -0.2].map((beta): EngineCheck => ({
      name: `tokenDivergence with beta ${beta}: value and gradient`,
      run: (engine) => checkDivergence(engine, { beta, teacherTemperature: 1.5, auxiliaryTemperature: 1 }, tolerance),
    })),
    { name: 'maskedCrossEntropy: loss and gradient', run: (engine) => checkCrossEntropy(engine, tolerance) },
    { name: 'softCrossEntropy: loss and gradient', run: (engine) => checkSoftCrossEntropy(engine, tolerance) },
    { name: 'globalNorm of several tensors', run: (engine) => checkGlobalNorm(engine, tolerance) },
    { name: 'adamUpdate: one update, and none where it is not applied', run: (engine) => checkAdam(engine, tolerance) },
  ];
}

async function checkOp(engine: Engine, op: OpCase, tolerance: number): Promise<void> {
  const names = Object.keys(op.arguments);
  const arguments_ = toReference(op.arguments);
  const expected = op.reference(arguments_);
  const weights = normal(`upstream of ${op.name}`, expected.shape);
  const constants = op.constants ?? {};
  const isDifferentiable = op.isDifferentiable ?? true;
  const fn: PureFunction = (_, inputs) => {
    const value = op.apply(inputs, inputs);
    if (!isDifferentiable) return { outputs: { value } };
    const weighted = (...xs: Tensor[]): Scalar => {
      const tree = Object.fromEntries(names.map((name, i) => [name, xs[i]!]));
      return tf.sum(tf.mul(op.apply(tree, inputs), inputs['upstream weights']!));
    };
    const gradients = tf.grads(weighted)(names.map((name) => inputs[name]!));
    return { outputs: { value, ...Object.fromEntries(names.map((name, i) => [`d ${name}`, gradients[i]!])) } };
  };
  const inputs = { ...op.arguments, ...constants, ...(isDifferentiable ? { 'upstream weights': weights } : {}) };
  const results = await runOnce(engine, fn, inputs);
  requireClose('value', tensorOf(results, 'value'), expected, tolerance);
  if (!isDifferentiable) return;
  for (const name of names) {
    const gradient = centralDifference(op, arguments_, name, weights.data);
    requireClose(`gradient of ${name}`, tensorOf(results, `d ${name}`), gradient, tolerance);
  }
}

/** In float64: truncation and rounding together stay below 1e-8 for the cases here. */
function centralDifference(
  op: OpCase,
  arguments_: Record<string, Reference>,
  name: string,
  weights: ArrayLike<number>,
): Reference {
  const step = 1e-5;
  const { shape, data } = arguments_[name]!;
  const weightedAt = (index: number, shift: number) => {
    const changed = data.slice();
    changed[index] = changed[index]! + shift;
    const value = op.reference({ ...arguments_, [name]: { shape, data: changed } });
    return sum(value.data.length, (i) => value.data[i]! * weights[i]!);
  };
  return { shape, data: data.map((_, i) => (weightedAt(i, step) - weightedAt(i, -step)) / (2 * step)) };
}

/** Probabilities 0.25, 0.5, 0.25 in each row; uniforms away from the edges 0.25 and 0.75. */
async function checkSampling(engine: Engine): Promise<void> {
  const row = [0, Math.LN2, 0];
  const inputs = {
    logits: float32([2, 4, 3], Array.from({ length: 8 }, () => row).flat()),
    uniforms: float32([2, 4], [0, 0.24, 0.26, 0.5, 0.74, 0.76, 0.9, 0.9999999]),
  };
  const results = await runOnce(
    engine,
    (_, { logits, uniforms }) => ({
      outputs: { ids: sampleCategorical(logits as tf.Tensor3D, uniforms as tf.Tensor2D) },
    }),
    inputs,
  );
  requireEqual('ids', tensorOf(results, 'ids'), int32([2, 4], [0, 0, 1, 1, 1, 2, 2, 2]));
}

async function checkDivergence(
  engine: Engine,
  attributes: TokenDivergenceAttributes,
  tolerance: number,
): Promise<void> {
  const shape = [2, 3, 5];
  const inputs = {
    conditional: normal('conditional', shape, 2),
    unconditional: normal('unconditional', shape, 2),
    guidanceScale: float32([2], [1, 3.5]),
    auxiliary: normal('auxiliary', shape, 2),
    weights: float32([2, 3], [1, 0, 0.5, 2, 1, 0]),
  };
  const results = await runOnce(
    engine,
    (_, tree) => ({
      outputs: { ...tokenDivergence(tree as unknown as Parameters<typeof tokenDivergence>[0], attributes) },
    }),
    inputs,
  );
  const { conditional, unconditional, guidanceScale, auxiliary, weights } = toReference(inputs) as Record<
    keyof typeof inputs,
    Reference
  >;
  const { beta, teacherTemperature, auxiliaryTemperature } = attributes;
  const position = (b: number, l: number) => {
    const u = rowAt(unconditional, b, l);
    const guided = rowAt(conditional, b, l).map((c, v) => u[v]! + at(guidanceScale, b) * (c - u[v]!));
    const logP = host.logSoftmax(guided.map((value) => value / teacherTemperature));
    const logQ = host.logSoftmax(rowAt(auxiliary, b, l).map((value) => value / auxiliaryTemperature));
    const reverse = sum(5, (v) => Math.exp(logQ[v]!) * (logQ[v]! - logP[v]!));
    const forward = sum(5, (v) => Math.exp(logP[v]!) * (logP[v]! - logQ[v]!));
    return { logP, logQ, forward, reverse };
  };
  const value = build([2, 3], (b, l) => {
    const { forward, reverse } = position(b, l);
    return at(weights, b, l) * ((1 - beta) * forward + beta * reverse);
  });
  const gradient = build(shape, (b, l, v) => {
    const { logP, logQ, reverse } = position(b!, l!);
    const [p, q] = [Math.exp(logP[v!]!), Math.exp(logQ[v!]!)];
    return at(weights, b!, l!) * ((1 - beta) * (q - p) + beta * q * (logQ[v!]! - logP[v!]! - reverse));
  });
  requireClose('value', tensorOf(results, 'value'), value, tolerance);
  requireClose(
    'forwardKl',
    tensorOf(results, 'forwardKl'),
    build([2, 3], (b, l) => position(b, l).forward),
    tolerance,
  );
  requireClose('gradient', tensorOf(results, 'gradient'), gradient, tolerance);
}

async function checkCrossEntropy(engine: Engine, tolerance: number): Promise<void> {
  const smoothing = 0.1;
  const inputs = {
    logits: normal('logits', [2, 2, 5], 2),
    targets: int32([2, 2], [3, 0, 4, 4]),
    weights: float32([2, 2], [1, 0, 0.5, 2]),
  };
  const results = await runOnce(
    engine,
    (_, tree) => ({
      outputs: { ...maskedCrossEntropy(tree as unknown as Parameters<typeof maskedCrossEntropy>[0], smoothing) },
    }),
    inputs,
  );
  const { logits, targets, weights } = toReference(inputs) as Record<keyof typeof inputs, Reference>;
  const target = (b: number, l: number, v: number) => (v === at(targets, b, l) ? 1 - smoothing : 0) + smoothing / 5;
  const logP = (b: number, l: number) => host.logSoftmax(rowAt(logits, b, l));
  const loss = build([2, 2], (b, l) => -at(weights, b, l) * sum(5, (v) => target(b, l, v) * logP(b, l)[v]!));
  const gradient = build([2, 2, 5], (b, l, v) => at(weights, b, l) * (Math.exp(logP(b, l)[v]!) - target(b, l, v)));
  requireClose('loss', tensorOf(results, 'loss'), loss, tolerance);
  requireClose('gradient', tensorOf(results, 'gradient'), gradient, tolerance);
}

async function checkSoftCrossEntropy(engine: Engine, tolerance: number): Promise<void> {
  const temperature = 2;
  const shape = [2, 2, 5];
  const inputs = {
    logits: normal('logits', shape, 2),
    target: normal('target', shape, 2),
    weights: float32([2, 2], [1, 0, 0.5, 2]),
  };
  const results = await runOnce(
    engine,
    (_, tree) => ({
      outputs: { ...softCrossEntropy(tree as unknown as Parameters<typeof softCrossEntropy>[0], temperature) },
    }),
    inputs,
  );
  const { logits, target, weights } = toReference(inputs) as Record<keyof typeof inputs, Reference>;
  const logSoftmaxOf = (x: Reference, b: number, l: number) =>
    host.logSoftmax(rowAt(x, b, l).map((value) => value / temperature));
  const loss = build([2, 2], (b, l) => {
    const [logP, logQ] = [logSoftmaxOf(logits, b, l), logSoftmaxOf(target, b, l)];
    const divergence = sum(5, (v) => Math.exp(logQ[v]!) * (logQ[v]! - logP[v]!));
    return (at(weights, b, l) * temperature ** 2 * divergence) / 5;
  });
  const gradient = build(shape, (b, l, v) => {
    const difference = Math.exp(logSoftmaxOf(logits, b!, l!)[v!]!) - Math.exp(logSoftmaxOf(target, b!, l!)[v!]!);
    return (at(weights, b!, l!) * temperature * difference) / 5;
  });
  requireClose('loss', tensorOf(results, 'loss'), loss, tolerance);
  requireClose('gradient', tensorOf(results, 'gradient'), gradient, tolerance);
}

/** 1^2 + 2^2 + 4^2 + 10^2 = 11^2. */
async function checkGlobalNorm(engine: Engine, tolerance: number): Promise<void> {
  const inputs = { a: float32([2, 1], [1, -2]), b: scalar(4), c: float32([1], [-10]) };
  const results = await runOnce(engine, (_, tree) => ({ outputs: { norm: globalNorm(Object.values(tree)) } }), inputs);
  requireClose('norm', tensorOf(results, 'norm'), { shape: [], data: [11] }, tolerance);
}

const adamTensors = {
  parameter: normal('parameter', [2, 3]),
  gradient: normal('gradient', [2, 3]),
  firstMoment: normal('first', [2, 3]),
  secondMoment: float32([2, 3], [0.1, 0.5, 1, 2, 0.3, 0.7]),
  average: normal('average', [2, 3]),
};

/** Two parameters at once, the second the negative of the first's first half, with and without an average. */
async function checkAdam(engine: Engine, tolerance: number): Promise<void> {
  const constants = { beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
  const scalars = { gradientScale: 0.5, stepSize: 0.01, rootCorrection: 1.25, decay: 0.001, averageRate: 0.25 };
  const update = (given: Partial<typeof adamTensors>, apply: number) =>
    runOnce(
      engine,
      (_, tree) => {
        const { gradientScale, stepSize, rootCorrection, decay, averageRate, apply: flag, ...tensors } = tree;
        const whole = tensors as unknown as AdamTensors;
        // Another size, so that engines that update several parameters together must tell them apart.
        const half = Object.fromEntries(
          Object.entries(tensors).map(([name, tensor]) => [name, tf.slice(tensor, [0, 0], [1, 3])]),
        ) as unknown as AdamTensors;
        const shared = { gradientScale, stepSize, rootCorrection, decay, averageRate, apply: flag };
        const results = adamUpdate([whole, half], shared as unknown as AdamScalars, constants);
        return {
          outputs: Object.fromEntries(
            results.flatMap((of, i) => Object.entries(of).map(([name, tensor]) => [`${name}/${i}`, tensor as Tensor])),
          ),
        };
      },
      {
        ...adamTensors,
        ...given,
        ...Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, scalar(value)])),
        apply: scalar(apply),
      },
    );
  const { parameter, gradient, firstMoment, secondMoment, average } = adamTensors;
  const g = gradient.data.map((value) => value * scalars.gradientScale);
  const m = Float64Array.from(firstMoment.data, (value, i) => value + 0.1 * (g[i]! - value));
  const v = Float64Array.from(secondMoment.data, (value, i) => value + 0.01 * (g[i]! ** 2 - value));
  const p = Float64Array.from(
    parameter.data,
    (value, i) =>
      value - 0.001 * value - (0.01 * m[i]!) / (Math.sqrt(v[i]!) * scalars.rootCorrection + constants.epsilon),
  );
  const a = Float64Array.from(average.data, (value, i) => value + 0.25 * (p[i]! - value));
  const applied = await update({}, 1);
  for (const [name, expected] of Object.entries({ parameter: p, firstMoment: m, secondMoment: v, average: a })) {
    requireClose(name, tensorOf(applied, `${name}/0`), { shape: [2, 3], data: expected }, tolerance);
    const half = { shape: [1, 3], data: expected.slice(0, 3) };
    requireClose(`${name} of the second parameter`, tensorOf(applied, `${name}/1`), half, tolerance);
  }
  const skipped = await update({ gradient: float32([2, 3], [NaN, Infinity, 1, 2, -Infinity, 3]) }, 0);
  for (const name of ['parameter', 'firstMoment', 'secondMoment', 'average'] as const)
    requireEqual(`${name} without update`, tensorOf(skipped, `${name}/0`), adamTensors[name]);
}
