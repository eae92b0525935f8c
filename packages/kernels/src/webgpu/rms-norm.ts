/** Root-mean-square normalization over the last axis, and its gradient. */
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Kernel } from './kernel.js';
import { columnGroups, columnLayout, columnParameters, type ColumnParameters } from './column-sums.js';
import { programs, runProgram, sizeOf } from './program.js';
import { groupsFor, horizontalSum, rowLayout, rowReduction, widthOf } from './rows.js';

const lengthOf = ({ shape }: TensorInfo) => shape[shape.length - 1]!;
const rowsOf = (x: TensorInfo) => sizeOf(x.shape) / Math.max(1, lengthOf(x));

/** [y, inverseRms]. */
export const rmsNorm: Kernel<'DimoRmsNorm'> = (backend, tuning, { x, scale }, { epsilon }) => {
  const width = lengthOf(x);
  return runProgram(backend, rmsNormProgram(columnParameters(tuning, width)), {
    inputs: [x, scale],
    outputs: [{ shape: x.shape }, { shape: [...x.shape.slice(0, -1), 1] }],
    uniforms: { width, epsilon },
    numGroups: groupsFor(rowsOf(x), rowLayout(tuning, 'uniforms.size_inverse')),
  });
};

const rmsNormProgram = programs((parameters: ColumnParameters) => {
  const { type } = parameters;
  const step = widthOf(type);
  const layout = rowLayout(parameters, 'uniforms.size_inverse');
  return {
    name: 'DimoRmsNorm',
    workgroupSize: layout.workgroupSize,
    outputs: [
      { name: 'y', type },
      { name: 'inverse', type: 'f32' },
    ],
    inputs: [
      { name: 'x', type },
      { name: 'scale', type },
    ],
    uniforms: { width: 'u32', epsilon: 'f32' },
    code: () => `
${rowReduction(parameters, 'rowSum', 'a + b')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let length = uniforms.width / ${step}u;
  let start = row * length;
  var squares = ${type}(0.0);
  for (var i = part; i < length; i += parts) { let value = x[start + i]; squares += value * value; }
  let meanSquare = rowSum(lane, ${horizontalSum(type, 'squares')}) / f32(uniforms.width);
  // Not inverseSqrt, which may be an approximation.
  let inverseRms = 1.0 / sqrt(meanSquare + uniforms.epsilon);
  if (part == 0u) { inverse[row] = inverseRms; }
  for (var i = part; i < length; i += parts) { y[start + i] = x[start + i] * inverseRms * scale[i]; }
}`,
  };
});

/** [dx, dscale]. With n = x inverse and g = dy scale: dx = inverse (g - n mean(g n)), dscale = sum(dy n). */
export const rmsNormGrad: Kernel<'DimoRmsNormGrad'> = (backend, tuning, { x, scale, inverseRms, dy }) => {
  const width = lengthOf(x);
  const [dx] = runProgram(backend, inputGradientProgram(columnParameters(tuning, width)), {
    inputs: [x, scale, inverseRms, dy],
    outputs: [{ shape: x.shape }],
    uniforms: { width },
    numGroups: groupsFor(rowsOf(x), rowLayout(tuning, 'uniforms.size_inverse')),
  });
  const [dscale] = runProgram(backend, scaleGradientProgram(columnParameters(tuning, width)), {
    inputs: [x, inverseRms, dy],
    outputs: [{ shape: [width] }],
    uniforms: { width },
    numGroups: columnGroups(columnParameters(tuning, width), width),
  });
  return [dx, dscale];
};

const inputGradientProgram = programs((parameters: ColumnParameters) => {
  const { type } = parameters;
  const step = widthOf(type);
  const layout = rowLayout(parameters, 'uniforms.size_inverse');
  return {
    name: 'DimoRmsNormInputGrad',
    workgroupSize: layout.workgroupSize,
    outputs: [{ name: 'dx', type }],
    inputs: [
      { name: 'x', type },
      { name: 'scale', type },
      { name: 'inverse', type: 'f32' },
      { name: 'dy', type },
    ],
    uniforms: { width: 'u32' },
    code: () => `
${rowReduction(parameters, 'rowSum', 'a + b')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let length = uniforms.width / ${step}u;
  let start = row * length;
  let inverseRms = inverse[row];
  var sum = ${type}(0.0);
  for (var i = part; i < length; i += parts) { sum += dy[start + i] * scale[i] * (x[start + i] * inverseRms); }
  let projected = rowSum(lane, ${horizontalSum(type, 'sum')}) / f32(uniforms.width);
  for (var i = part; i < length; i += parts) {
    dx[start + i] = inverseRms * (dy[start + i] * scale[i] - x[start + i] * inverseRms * projected);
  }
}`,
  };
});

const scaleGradientProgram = programs((parameters: ColumnParameters) => {
  const layout = columnLayout(parameters);
  const { type } = parameters;
  return {
    name: 'DimoRmsNormScaleGrad',
    workgroupSize: layout.workgroupSize,
    outputs: [{ name: 'dscale', type }],
    inputs: [
      { name: 'x', type },
      { name: 'inverse', type: 'f32' },
      { name: 'dy', type },
    ],
    uniforms: { width: 'u32' },
    code: () => `
${layout.reduction('columnSum')}
fn run(group: u32, lane: u32) {
  ${layout.prologue('uniforms.width')}
  var sum = ${type}(0.0);
  for (var row = firstRow; row < uniforms.size_inverse; row += rowStep) {
    sum += dy[row * length + column] * (x[row * length + column] * inverse[row]);
  }
  let total = columnSum(lane, sum);
  if (firstRow == 0u) { dscale[column] = total; }
}`,
  };
});
