/** What the checks of teachers share: inputs of a pass, and running a function of a model's first weights. */
import type { Tensor2D } from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/engine.js';
import { forwardPass, type PassInputs } from '../model/forward-pass.js';
import type { MaskedDiffusionModel, TeacherDefinition } from '../model/model.js';
import { timeInputs } from '../model/time-conditioning.js';
import { sequenceLength } from '../model/token-space.js';
import { randomStream } from '../random/random.js';
import { weightDifferences } from '../storage/weights.js';
import {
  float32,
  int32,
  specsOf,
  subtree,
  withPrefix,
  type HostTensor,
  type HostTree,
  type TensorTree,
} from '../tensors/tensors.js';
import { require, tensorOf } from './expectations.js';

/** Tokens int32 [batch, L] and their conditions. */
export interface Given {
  readonly tokens: HostTensor<'int32'>;
  readonly condition: HostTree;
}

/** Logits [batch, L, V] of a model's first weights. */
export async function logitsOf(engine: Engine, { model }: TeacherDefinition, given: Given): Promise<HostTensor> {
  const outputs = await evaluate(engine, model, passTensors(model, given), (weights, values) => ({
    logits: forwardPass(model, weights, passInputs(values)),
  }));
  return tensorOf(outputs, 'logits');
}

/** Outputs of `compute`, which gets the model's first weights and the inputs on the engine. */
export async function evaluate(
  engine: Engine,
  model: MaskedDiffusionModel,
  inputs: HostTree,
  compute: (weights: TensorTree, values: TensorTree) => TensorTree,
): Promise<HostTree> {
  const state = await engine.upload(initialWeights(model));
  try {
    const compiled = await engine.compile((weights, values) => ({ outputs: compute(weights, values) }), {
      state: model.parameters,
      inputs: specsOf(inputs),
    });
    try {
      return await compiled.run(state, inputs);
    } finally {
      await compiled.dispose();
    }
  } finally {
    await state.dispose();
  }
}

/** Inputs of a pass by name; the time is that of the tokens' mask ratio. */
export function passTensors(model: MaskedDiffusionModel, { tokens, condition }: Given): HostTree {
  const [batch, length] = tokens.shape as readonly [number, number];
  const { maskTokenId } = model.tokenSpace;
  const numMasked = (row: number) =>
    tokens.data.subarray(row * length, (row + 1) * length).filter((token) => token === maskTokenId).length;
  const maskRatio = float32(
    [batch],
    Array.from({ length: batch }, (_, row) => numMasked(row) / length),
  );
  return { tokens, ...timeInputs(model, { maskRatio }), ...withPrefix('condition', condition) };
}

/** The arguments that `passTensors` became on an engine. */
export function passInputs(values: TensorTree): PassInputs {
  return {
    tokens: values['tokens'] as Tensor2D,
    condition: subtree('condition', values),
    time: subtree('time', values),
  };
}

/** The weights that all checks use. */
export function initialWeights(model: TeacherDefinition['model']): HostTree {
  return model.initialize(randomStream(7, 0, 'conformance/weights'));
}

/** Conditions that the teacher draws. */
export async function sampled({ conditions }: TeacherDefinition, count: number): Promise<HostTree> {
  return conditions.sample(randomStream(2, 0, 'conformance/conditions'), count);
}

/** Random codes with every third position masked. */
export function partlyMasked({ model }: TeacherDefinition, count: number): HostTensor<'int32'> {
  const { codebookSize, maskTokenId } = model.tokenSpace;
  const length = sequenceLength(model.tokenSpace);
  const codes = randomStream(4, 0, 'conformance/tokens').integers(count * length, codebookSize);
  return int32(
    [count, length],
    codes.map((code, i) => (i % 3 === 0 ? maskTokenId : code)),
  );
}

/** The tensors with a leading axis of `count` equal rows. */
export function repeated(tree: HostTree, count: number): HostTree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, { dtype, shape, data }]) => {
      const rows = new (data.constructor as new (length: number) => typeof data)(count * data.length);
      for (let row = 0; row < count; row++) rows.set(data, row * data.length);
      return [name, { dtype, shape: [count, ...shape], data: rows }];
    }),
  );
}

/** Row `index` as a batch of one. */
export function rowOf<T extends HostTensor>({ dtype, shape, data }: T, index: number): T {
  const size = data.length / shape[0]!;
  return {
    dtype,
    shape: [1, ...shape.slice(1)],
    data: data.slice(index * size, (index + 1) * size),
  } as HostTensor as T;
}

/** Requires the names, shapes and dtypes of `specs` and no others. */
export function requireSpecs(where: string, tree: HostTree, specs: TeacherDefinition['model']['parameters']): void {
  const differences = weightDifferences(tree, specs).map(({ kind, name }) => `${kind} "${name}"`);
  require(differences.length === 0, () => `${where}: ${differences.slice(0, 5).join(', ')}`);
}

/** Requires that no element is NaN or infinite. */
export function requireFinite(where: string, { data }: HostTensor): void {
  const wrong = (data as Float32Array).findIndex((value) => !Number.isFinite(value));
  require(wrong < 0, () => `${where}: element ${wrong} is ${data[wrong]}, all must be finite`);
}
