/** Checks of a teacher's gradients. */
import * as tf from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/engine.js';
import { recomputeBlocks } from '../layers/recomputed-block.js';
import { forwardPass } from '../model/forward-pass.js';
import type { TeacherDefinition } from '../model/model.js';
import type { HostTree, TensorTree } from '../tensors/tensors.js';
import { require, requireClose, tensorOf } from './expectations.js';
import {
  evaluate,
  partlyMasked,
  passInputs,
  passTensors,
  requireFinite,
  requireSpecs,
  sampled,
} from './teacher-evaluation.js';

/** Every parameter has a finite gradient, and not all are 0. */
export async function checkGradients(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const gradients = await gradientsOf(teacher, engine, (compute) => compute);
  requireSpecs('gradients', gradients, teacher.model.parameters);
  for (const [name, gradient] of Object.entries(gradients)) requireFinite(`gradient of "${name}"`, gradient);
  require(Object.values(gradients).some(({ data }) => data.some((value) => value !== 0)), () => 'all gradients are 0');
}

/** What a block reads is what it is given: a tensor that it reaches otherwise would have no gradient there. */
export async function checkRecomputation(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const expected = await gradientsOf(teacher, engine, (compute) => compute);
  const actual = await gradientsOf(teacher, engine, (compute) => {
    const { gradients } = recomputeBlocks({
      functions: { gradients: (weights: TensorTree, values: TensorTree) => ({ outputs: compute(weights, values) }) },
    }).functions;
    return (weights, values) => gradients(weights, values).outputs!;
  });
  for (const [name, gradient] of Object.entries(expected)) {
    const largest = Math.max(...Array.from(gradient.data, Math.abs));
    requireClose(
      `gradient of "${name}", blocks computed twice`,
      tensorOf(actual, name),
      gradient,
      1e-4 * largest + 1e-7,
    );
  }
}

type Compute = (weights: TensorTree, values: TensorTree) => TensorTree;

/** Gradients of the sum of the squared logits: a plain sum has a zero gradient through a last normalization. */
async function gradientsOf(
  teacher: TeacherDefinition,
  engine: Engine,
  wrap: (compute: Compute) => Compute,
): Promise<HostTree> {
  const { model } = teacher;
  const names = Object.keys(model.parameters);
  const given = passTensors(model, { tokens: partlyMasked(teacher, 2), condition: await sampled(teacher, 2) });
  const compute: Compute = (weights, values) => {
    const { grads } = tf.valueAndGrads((...trained) => {
      const changed = Object.fromEntries(names.map((name, i) => [name, trained[i]!]));
      return tf.sum(tf.square(forwardPass(model, changed, passInputs(values))));
    })(names.map((name) => weights[name]!));
    return Object.fromEntries(names.map((name, i) => [name, grads[i]!]));
  };
  return evaluate(engine, model, given, wrap(compute));
}
