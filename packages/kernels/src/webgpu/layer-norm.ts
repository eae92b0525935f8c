/** Layer normalization and its gradient: one program forward, two backward. */
import type { Kernel } from './kernel.js';
import { columnGroups, columnLayout, columnParameters, type ColumnParameters } from './column-sums.js';
import { programs, runProgram, sizeOf } from './program.js';
import { groupsFor, horizontalSum, rowLayout, rowReduction, widthOf } from './rows.js';

/** [y, mean, inverseDeviation]; three passes over a row that stays in the cache, as the composition computes it. */
export const layerNorm: Kernel<'DimoLayerNorm'> = (backend, tuning, { x, scale, offset }, { epsilon }) => {
  const width = x.shape[x.shape.length - 1]!;
  const numRows = sizeOf(x.shape) / Math.max(1, width);
  const statistics = [...x.shape.slice(0, -1), 1];
  const layout = rowLayout(tuning, 'uniforms.size_mean');
  return runProgram(backend, layerNormProgram(columnParameters(tuning, width)), {
    inputs: [x, scale, offset],
    outputs: [{ shape: x.shape }, { shape: statistics }, { shape: statistics }],
    uniforms: { width, epsilon },
    numGroups: groupsFor(numRows, layout),
  });
};

const layerNormProgram = programs((parameters: ColumnParameters) => {
  const { type } = parameters;
  const step = widthOf(type);
  const layout = rowLayout(parameters, 'uniforms.size_mean');
  return {
    name: 'DimoLayerNorm',
    workgroupSize: layout.workgroupSize,
    outputs: [
      { name: 'y', type },
      { name: 'mean', type: 'f32' },
      { name: 'inverse', type: 'f32' },
    ],
    inputs: [
      { name: 'x', type },
      { name: 'scale', type },
      { name: 'offset', type },
    ],
    uniforms: { width: 'u32', epsilon: 'f32' },
    code: () => `
${rowReduction(parameters, 'rowSum', 'a + b')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let length = uniforms.width / ${step}u;
  let start = row * length;
  var sum = ${type}(0.0);
  for (var i = part; i < length; i += parts) { sum += x[start + i]; }
  let average = rowSum(lane, ${horizontalSum(type, 'sum')}) / f32(uniforms.width);
  var squares = ${type}(0.0);
  for (var i = part; i < length; i += parts) { let d = x[start + i] - average; squares += d * d; }
  let variance = rowSum(lane, ${horizontalSum(type, 'squares')}) / f32(uniforms.width);
  // Not inverseSqrt, which may be an approximation: epsilon can be as small as 1e-12.
  let inverseDeviation = 1.0 / sqrt(variance + uniforms.epsilon);
  if (part == 0u) { mean[row] = average; inverse[row] = inverseDeviation; }
  for (var i = part; i < length; i += parts) {
    y[start + i] = (x[start + i] - average) * inverseDeviation * scale[i] + offset[i];
  }
}`,
  };
});

/** [dx, dscale, doffset]. With n = (x - mean) inverse and g = dy scale: dx = inverse (g - mean(g) - n mean(g n)). */
export const layerNormGrad: Kernel<'DimoLayerNormGrad'> = (backend, tuning, inputs) => {
  const { x, scale, mean, inverseDeviation, dy } = inputs;
  const width = x.shape[x.shape.length - 1]!;
  const numRows = sizeOf(x.shape) / Math.max(1, width);
  const rows = rowLayout(tuning, 'uniforms.size_mean');
  const [dx] = runProgram(backend, inputGradientProgram(columnParameters(tuning, width)), {
    inputs: [x, scale, mean, inverseDeviation, dy],
    outputs: [{ shape: x.shape }],
    uniforms: { width },
    numGroups: groupsFor(numRows, rows),
  });
  const [dscale, doffset] = runProgram(backend, parameterGradientProgram(columnParameters(tuning, width)), {
    inputs: [x, mean, inverseDeviation, dy],
    outputs: [{ shape: [width] }, { shape: [width] }],
    uniforms: { width },
    numGroups: columnGroups(columnParameters(tuning, width), width),
  });
  return [dx, dscale, doffset];
};

const inputGradientProgram = programs((parameters: ColumnParameters) => {
  const { type } = parameters;
  const step = widthOf(type);
  const layout = rowLayout(parameters, 'uniforms.size_mean');
  return {
    name: 'DimoLayerNormInputGrad',
    workgroupSize: layout.workgroupSize,
    outputs: [{ name: 'dx', type }],
    inputs: [
      { name: 'x', type },
      { name: 'scale', type },
      { name: 'mean', type: 'f32' },
      { name: 'inverse', type: 'f32' },
      { name: 'dy', type },
    ],
    uniforms: { width: 'u32' },
    code: () => `
${rowReduction(parameters, 'rowSum', 'a + b', 'vec2<f32>')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let length = uniforms.width / ${step}u;
  let start = row * length;
  let average = mean[row];
  let inverseDeviation = inverse[row];
  var plain = ${type}(0.0);
  var projected = ${type}(0.0);
  for (var i = part; i < length; i += parts) {
    let g = dy[start + i] * scale[i];
    plain += g;
    projected += g * ((x[start + i] - average) * inverseDeviation);
  }
  let sums = vec2<f32>(${horizontalSum(type, 'plain')}, ${horizontalSum(type, 'projected')});
  let means = rowSum(lane, sums) / f32(uniforms.width);
  for (var i = part; i < length; i += parts) {
    let n = (x[start + i] - average) * inverseDeviation;
    dx[start + i] = inverseDeviation * (dy[start + i] * scale[i] - means.x - n * means.y);
  }
}`,
  };
});

const parameterGradientProgram = programs((parameters: ColumnParameters) => {
  const layout = columnLayout(parameters);
  const { type } = parameters;
  return {
    name: 'DimoLayerNormParameterGrad',
    workgroupSize: layout.workgroupSize,
    outputs: [
      { name: 'dscale', type },
      { name: 'doffset', type },
    ],
    inputs: [
      { name: 'x', type },
      { name: 'mean', type: 'f32' },
      { name: 'inverse', type: 'f32' },
      { name: 'dy', type },
    ],
    uniforms: { width: 'u32' },
    code: () => `
${layout.reduction('columnSum')}
fn run(group: u32, lane: u32) {
  ${layout.prologue('uniforms.width')}
  var scaleSum = ${type}(0.0);
  var offsetSum = ${type}(0.0);
  for (var row = firstRow; row < uniforms.size_mean; row += rowStep) {
    let upstream = dy[row * length + column];
    scaleSum += upstream * ((x[row * length + column] - mean[row]) * inverse[row]);
    offsetSum += upstream;
  }
  let scaleTotal = columnSum(lane, scaleSum);
  let offsetTotal = columnSum(lane, offsetSum);
  if (firstRow == 0u) { dscale[column] = scaleTotal; doffset[column] = offsetTotal; }
}`,
  };
});
