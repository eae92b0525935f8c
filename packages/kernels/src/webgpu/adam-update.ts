/**
 * One Adam or AdamW update in one pass over parameters, gradients, moments and averages: one launch for as many
 * parameters as the adapter binds buffers for.
 */
import type { FusableInputs } from '@dimo/core';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Kernel } from './kernel.js';
import { programs, runProgram, sizeOf, zeros, type Program } from './program.js';
import type { VectorType } from './rows.js';
import { inBatches, isFilled, perSlot, slotBindings, slotEnds, slotUniforms } from './launch-batches.js';
import type { WebgpuBackend } from './webgpu-backend.js';

const scalarNames = ['gradientScale', 'stepSize', 'rootCorrection', 'decay', 'apply', 'averageRate'] as const;
const stateNames = ['parameter', 'firstMoment', 'secondMoment'] as const;
const workgroupSize = 64;

type Name = 'gradient' | 'average' | (typeof stateNames)[number];
type Inputs = FusableInputs<'DimoAdamUpdate', TensorInfo>;

/** parameter, first moment, second moment and, if there is one, average of each parameter. */
export const adamUpdate: Kernel<'DimoAdamUpdate'> = (backend, _, inputs, { beta1, beta2, epsilon }) => {
  const hasAverage = 'average/0' in inputs;
  const names: readonly Name[] = hasAverage ? [...stateNames, 'average'] : stateNames;
  const count = Object.keys(inputs).filter((name) => name.startsWith('parameter/')).length;
  const results = Array.from({ length: count }, () => new Map<string, TensorInfo>());
  const filled = results.flatMap((_, i) => (isFilled(inputs[`parameter/${i}`]!) ? [i] : []));
  const scalars = packScalars(backend, inputs);
  const available = backend.device.limits.maxStorageBuffersPerShaderStage;
  const sizeAt = (i: number) => sizeOf(inputs[`parameter/${i}`]!.shape);
  // State in and out, the gradient, and the scalars. With the fewest buffers that there can be, the average goes alone.
  const isTogether = !hasAverage || available >= 10;
  const updated = isTogether ? names : stateNames;
  const launch = (wanted: readonly Name[], read: readonly Name[], program: (slots: Slots) => Program) => {
    const perItem = wanted.length + read.length;
    for (const { items, type, width } of inBatches(filled, sizeAt, { most: 4, available, common: 1, perItem })) {
      const groups = items.map((i) => Math.ceil(sizeAt(i) / width / workgroupSize));
      const made = runProgram(backend, program({ numSlots: items.length, type }), {
        inputs: [
          ...items.flatMap((i) => read.map((name) => results[i]!.get(name) ?? inputs[`${name}/${i}`]!)),
          scalars,
        ],
        outputs: items.flatMap((i) => wanted.map(() => ({ shape: inputs[`parameter/${i}`]!.shape }))),
        uniforms: { rate1: 1 - beta1, rate2: 1 - beta2, epsilon, ...slotEnds(groups) },
        numGroups: groups.reduce((a, b) => a + b, 0),
      });
      items.forEach((i, slot) => wanted.forEach((name, n) => results[i]!.set(name, made[slot * wanted.length + n]!)));
    }
  };
  launch(updated, ['gradient', ...updated], (slots) => updateProgram({ names: updated, ...slots }));
  if (!isTogether) launch(['average'], ['average', 'parameter'], averageProgram);
  backend.disposeData(scalars.dataId);
  return results.flatMap((result, i) =>
    names.map((name) => result.get(name) ?? zeros(backend, inputs[`parameter/${i}`]!.shape)),
  );
};

interface Slots {
  readonly numSlots: number;
  readonly type: VectorType;
}

/** The scalars side by side: one buffer instead of six. */
function packScalars(backend: WebgpuBackend, inputs: Inputs): TensorInfo {
  const given = scalarNames.filter((name) => name in inputs);
  // The flag is a comparison's result, an integer in its buffer: read as such, without a program to convert it.
  const isFlagFloat = backend.tensorMap.get(inputs['apply']!.dataId).dtype === 'float32';
  const [packed] = runProgram(backend, packing({ given, isFlagFloat }), {
    inputs: given.map((name) => inputs[name]!),
    outputs: [{ shape: [scalarNames.length] }],
    numGroups: 1,
  });
  return packed;
}

interface Packing {
  readonly given: readonly (typeof scalarNames)[number][];
  readonly isFlagFloat: boolean;
}

const packing = programs(({ given, isFlagFloat }: Packing) => {
  return {
    name: 'DimoPackScalars',
    workgroupSize: 1,
    outputs: [{ name: 'scalars', type: 'f32' }],
    inputs: given.map((name) => ({ name, type: name === 'apply' && !isFlagFloat ? 'i32' : 'f32' })),
    code: () =>
      `fn run(group: u32, lane: u32) { ${given.map((name) => `scalars[${scalarNames.indexOf(name)}] = f32(${name}[0]);`).join(' ')} }`,
  };
});

const declarations = {
  uniforms: { rate1: 'f32', rate2: 'f32', epsilon: 'f32' },
  constants: scalarNames.map((name, i) => `let ${name} = scalars[${i}];`).join(' '),
} as const;

const updateProgram = programs(({ names, numSlots, type }: Slots & { readonly names: readonly Name[] }) => {
  const outputOf = (name: string) => `new_${name}`;
  const hasAverage = names.includes('average');
  return {
    name: 'DimoAdamUpdate',
    workgroupSize,
    outputs: slotBindings(numSlots, names.map(outputOf), type),
    inputs: [...slotBindings(numSlots, ['gradient', ...names], type), { name: 'scalars', type: 'f32' }],
    uniforms: { ...declarations.uniforms, ...slotUniforms(numSlots) },
    code: () => `
fn run(group: u32, lane: u32) {
  ${declarations.constants}
  ${perSlot(
    numSlots,
    (slot) => `
    let i = local * workgroupSize + lane;
    if (i >= uniforms.size_parameter${slot} / ${type === 'f32' ? 1 : 4}u) { return; }
    let p = parameter${slot}[i];
    let first = firstMoment${slot}[i];
    let second = secondMoment${slot}[i];
    ${hasAverage ? `let a = average${slot}[i];` : ''}
    // Not applied: unchanged bit for bit, whatever the gradient holds.
    if (apply == 0.0) {
      new_parameter${slot}[i] = p; new_firstMoment${slot}[i] = first; new_secondMoment${slot}[i] = second;
      ${hasAverage ? `new_average${slot}[i] = a;` : ''}
      return;
    }
    let g = gradient${slot}[i] * gradientScale;
    let m = first + (g - first) * uniforms.rate1;
    let v = second + (g * g - second) * uniforms.rate2;
    let updated = p * (1.0 - decay) - m * stepSize / (sqrt(v) * rootCorrection + uniforms.epsilon);
    new_firstMoment${slot}[i] = m;
    new_secondMoment${slot}[i] = v;
    new_parameter${slot}[i] = updated;
    ${hasAverage ? `new_average${slot}[i] = a + (updated - a) * averageRate;` : ''}`,
  )}
}`,
  };
});

const averageProgram = programs(({ numSlots, type }: Slots) => {
  return {
    name: 'DimoMovingAverage',
    workgroupSize,
    outputs: slotBindings(numSlots, ['new_average'], type),
    inputs: [...slotBindings(numSlots, ['average', 'parameter'], type), { name: 'scalars', type: 'f32' }],
    uniforms: { ...declarations.uniforms, ...slotUniforms(numSlots) },
    code: () => `
fn run(group: u32, lane: u32) {
  ${declarations.constants}
  ${perSlot(
    numSlots,
    (slot) => `
    let i = local * workgroupSize + lane;
    if (i >= uniforms.size_average${slot} / ${type === 'f32' ? 1 : 4}u) { return; }
    let a = average${slot}[i];
    new_average${slot}[i] = a + (parameter${slot}[i] - a) * select(averageRate, 0.0, apply == 0.0);`,
  )}
}`,
  };
});
