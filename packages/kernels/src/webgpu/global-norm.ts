/** Root of the sum of squares of several tensors, in few launches and always added up in the same order. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Kernel } from './kernel.js';
import { programs, runProgram, sizeOf, zeros } from './program.js';
import { rowReduction, type RowTuning, type VectorType } from './rows.js';
import { inBatches, isFilled, perSlot, slotBindings, slotEnds, slotUniforms } from './launch-batches.js';

/** Elements (numbers, or vectors of four) that a lane adds up. */
const perLane = 64;
/** What the last workgroup adds up alone. */
const mostPartials = 16_384;
const lanes = { shared: 64, alone: 8 } as const;

/** A scalar: the norm of the inputs `0`, `1`, ... */
export const globalNorm: Kernel<'DimoGlobalNorm'> = (backend, tuning, inputs) => {
  let tensors: TensorInfo[] = Object.values(inputs).filter(isFilled);
  if (tensors.length === 0) return [zeros(backend, [])];
  const available = backend.device.limits.maxStorageBuffersPerShaderStage;
  const limits = { most: 8, available, common: 1, perItem: 1 };
  const workgroupSize = tuning.lanesPerRow > 1 ? lanes.shared : lanes.alone;
  const numIn = (some: readonly TensorInfo[]) => some.reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  let isSquared = false;
  // Every lane leaves a partial sum, until the rest is work for one workgroup.
  while (!isSquared || tensors.length >= available || numIn(tensors) > mostPartials) {
    const partials = inBatches(tensors, ({ shape }) => sizeOf(shape), limits).map(({ items, type, width }) => {
      const groups = items.map(({ shape }) => Math.ceil(sizeOf(shape) / width / (perLane * workgroupSize)));
      const numGroups = groups.reduce((a, b) => a + b, 0);
      const program = partialSums({ numSlots: items.length, type, workgroupSize, isSquared });
      const [sums] = runProgram(backend, program, {
        inputs: items,
        outputs: [{ shape: [numGroups * workgroupSize] }],
        uniforms: slotEnds(groups),
        numGroups,
      });
      return sums;
    });
    if (isSquared) for (const { dataId } of tensors) backend.disposeData(dataId);
    tensors = partials;
    isSquared = true;
  }
  const [norm] = runProgram(backend, rootOfSum({ lanesPerRow: tuning.lanesPerRow, count: tensors.length }), {
    inputs: tensors,
    outputs: [{ shape: [] }],
    numGroups: 1,
  });
  for (const { dataId } of tensors) backend.disposeData(dataId);
  return [norm];
};

interface PartialSums {
  readonly numSlots: number;
  readonly type: VectorType;
  readonly workgroupSize: number;
  /** The inputs are sums of squares already. */
  readonly isSquared: boolean;
}

const partialSums = programs(({ numSlots, type, workgroupSize, isSquared }: PartialSums) => {
  const width = type === 'f32' ? 1 : 4;
  return {
    name: 'DimoSumOfSquares',
    workgroupSize,
    outputs: [{ name: 'sums', type: 'f32' }],
    inputs: slotBindings(numSlots, ['x'], type),
    uniforms: slotUniforms(numSlots),
    code: () => `
fn run(group: u32, lane: u32) {
  var sum = ${type}(0.0);
  ${perSlot(
    numSlots,
    (slot) => `
    let end = min((local + 1u) * ${perLane * workgroupSize}u, uniforms.size_x${slot} / ${width}u);
    for (var i = local * ${perLane * workgroupSize}u + lane; i < end; i += workgroupSize) {
      let x = x${slot}[i];
      sum += ${isSquared ? 'x' : 'x * x'};
    }`,
  )}
  sums[group * workgroupSize + lane] = ${type === 'f32' ? 'sum' : 'dot(sum, vec4<f32>(1.0))'};
}`,
  };
});

const rootOfSum = programs(({ count, ...tuning }: RowTuning & { readonly count: number }) => {
  const slots = Array.from({ length: count }, (_, slot) => slot);
  const loops = (step: string, from: string) =>
    slots
      .map((slot) => `for (var i = ${from}; i < uniforms.size_x${slot}; i += ${step}) { sum += x${slot}[i]; }`)
      .join('\n  ');
  return {
    name: 'DimoRootOfSum',
    workgroupSize: tuning.lanesPerRow,
    outputs: [{ name: 'norm', type: 'f32' }],
    inputs: slotBindings(count, ['x'], 'f32'),
    code: () => `
${rowReduction(tuning, 'sumOfLanes', 'a + b')}
fn run(group: u32, lane: u32) {
  var sum = 0.0;
  ${loops('workgroupSize', 'lane')}
  let total = sumOfLanes(lane, sum);
  if (lane == 0u) { norm[0] = sqrt(total); }
}`,
  };
});
