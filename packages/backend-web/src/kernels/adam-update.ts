/** One Adam or AdamW update in one pass over parameter, gradient and moments; and the moving average of weights. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import { runElementwise, type ElementwiseOp } from './elementwise.js';
import { runProgram, type BufferBinding, type Program } from './program.js';
import type { WebgpuBackend } from './webgpu-backend.js';

const scalarNames = ['gradientScale', 'stepSize', 'rootCorrection', 'decay', 'apply'] as const;
const tensorNames = ['parameter', 'gradient', 'firstMoment', 'secondMoment'] as const;

/** Arguments of `DimoAdamUpdate`. */
export type AdamUpdateInputs = Readonly<
  Record<(typeof scalarNames)[number] | (typeof tensorNames)[number], TensorInfo>
>;

/** Attributes of `DimoAdamUpdate`. */
export interface AdamUpdateAttributes {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Buffers of an update that binds every scalar by itself. */
const allBuffers = tensorNames.length + scalarNames.length + 3;

/** [parameter, firstMoment, secondMoment]. */
export function adamUpdate(
  backend: WebgpuBackend,
  inputs: AdamUpdateInputs,
  attributes: AdamUpdateAttributes,
): TensorInfo[] {
  const { beta1, beta2, epsilon } = attributes;
  const tensors = tensorNames.map((name) => inputs[name]);
  const scalars = scalarNames.map((name) => inputs[name]);
  const uniforms = { rate1: 1 - beta1, rate2: 1 - beta2, epsilon };
  if (backend.device.limits.maxStorageBuffersPerShaderStage >= allBuffers) {
    // The flag is a comparison's result, an integer in its buffer: read as such, without a program to convert it.
    const isFlagFloat = backend.tensorMap.get(inputs.apply.dataId).dtype === 'float32';
    const parameters = scalarNames.map((name): BufferBinding => ({
      name,
      type: name === 'apply' && !isFlagFloat ? 'i32' : 'f32',
    }));
    return runElementwise(
      backend,
      updateOp(parameters, (name) => `f32(${name}[0])`),
      tensors,
      scalars,
      uniforms,
    );
  }
  const [packed] = runProgram(backend, packing, {
    inputs: scalars,
    outputs: [{ shape: [scalarNames.length] }],
    numGroups: 1,
  });
  const op = updateOp([{ name: 'scalars', type: 'f32' }], (name) => `scalars[${scalarNames.indexOf(name)}]`);
  const results = runElementwise(backend, op, tensors, [packed!], uniforms);
  backend.disposeData(packed!.dataId);
  return results;
}

/** The scalars side by side, for adapters that bind few buffers. */
const packing: Program = {
  name: 'DimoPackScalars',
  variant: '',
  workgroupSize: 1,
  outputs: [{ name: 'scalars', type: 'f32' }],
  inputs: scalarNames.map((name) => ({ name, type: 'f32' })),
  code: () =>
    `fn run(group: u32, lane: u32) { ${scalarNames.map((name, i) => `scalars[${i}] = ${name}[0];`).join(' ')} }`,
};

function updateOp(
  parameters: readonly BufferBinding[],
  scalar: (name: (typeof scalarNames)[number]) => string,
): ElementwiseOp {
  return {
    name: 'DimoAdamUpdate',
    variant: parameters.map(({ name, type }) => `${name} ${type}`).join(),
    inputs: tensorNames,
    parameters,
    outputs: ['newParameter', 'newFirst', 'newSecond'],
    uniforms: { rate1: 'f32', rate2: 'f32', epsilon: 'f32' },
    code: () => ({
      // Not applied: unchanged bit for bit, whatever the gradient holds.
      statements: `let p = parameter[i];
  let first = firstMoment[i];
  let second = secondMoment[i];
  if (${scalar('apply')} == 0.0) { newParameter[i] = p; newFirst[i] = first; newSecond[i] = second; return; }
  let g = gradient[i] * ${scalar('gradientScale')};
  let m = first + (g - first) * uniforms.rate1;
  let v = second + (g * g - second) * uniforms.rate2;
  newFirst[i] = m;
  newSecond[i] = v;
  newParameter[i] = p * (1.0 - ${scalar('decay')}) - m * ${scalar('stepSize')} / (sqrt(v) * ${scalar('rootCorrection')} + uniforms.epsilon);`,
    }),
  };
}
