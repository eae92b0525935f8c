/**
 * Divergence between teacher and auxiliary and its gradient with respect to the auxiliary's logits. The logits are read
 * from memory once: a second look at the same row, which is a few kilobytes, comes from the cache. Nothing of the size
 * of the vocabulary is written but the gradient.
 *
 *   FKL = E_p[d] - (Z_p - Z_q)    RKL = -E_q[d] + (Z_p - Z_q)    d = x_p - x_q, Z = log sum exp
 *
 * Both logits are taken relative to the first of their row, so that a common offset costs no digits of d.
 */
import type { FusableAttributes, FusableOutputs } from '@dimo/core';
import type { TensorInfo } from '@tensorflow/tfjs-core';
import type { Kernel } from './kernel.js';
import { programs, runProgram, sizeOf } from './program.js';
import { groupsFor, rowLayout, rowReduction, type RowTuning, type Tuning } from './rows.js';
import { elementwise } from './elementwise.js';
import { lowest } from './softmax-rows.js';
import type { WebgpuBackend } from './webgpu-backend.js';

/** Buffers that the program with guidance binds; adapters must offer eight, most offer more. */
const guidedBuffers = 9;

/** [value, forwardKl, totalVariation, gradient]. */
export const tokenDivergence: Kernel<'DimoTokenDivergence'> = (backend, tuning, inputs, attributes) => {
  const { conditional, unconditional, guidanceScale, auxiliary, weights } = inputs;
  if (!unconditional || !guidanceScale) return run(backend, tuning, [conditional, auxiliary, weights], attributes);
  if (backend.device.limits.maxStorageBuffersPerShaderStage >= guidedBuffers)
    return run(backend, tuning, [conditional, auxiliary, weights, unconditional, guidanceScale], attributes);
  const guided = guide(backend, conditional, unconditional, guidanceScale);
  const results = run(backend, tuning, [guided, auxiliary, weights], attributes);
  backend.disposeData(guided.dataId);
  return results;
};

function run(
  backend: WebgpuBackend,
  tuning: Tuning,
  tensors: TensorInfo[],
  { beta, teacherTemperature, auxiliaryTemperature }: FusableAttributes<'DimoTokenDivergence'>,
): FusableOutputs<'DimoTokenDivergence', TensorInfo> {
  const [batch, length, width] = tensors[0]!.shape as [number, number, number];
  const layout = rowLayout(tuning, 'uniforms.size_weights');
  const perToken = { shape: [batch, length] };
  return runProgram(backend, divergenceProgram({ lanesPerRow: tuning.lanesPerRow, isGuided: tensors.length > 3 }), {
    inputs: tensors,
    outputs: [perToken, perToken, perToken, { shape: [batch, length, width] }],
    uniforms: {
      width,
      rowsPerSample: length,
      beta,
      teacherFactor: 1 / teacherTemperature,
      auxiliaryFactor: 1 / auxiliaryTemperature,
    },
    numGroups: groupsFor(batch * length, layout),
  });
}

const divergenceProgram = programs(({ isGuided, ...tuning }: RowTuning & { readonly isGuided: boolean }) => {
  const layout = rowLayout(tuning, 'uniforms.size_weights');
  const buffer = (name: string) => ({ name, type: 'f32' as const });
  return {
    name: 'DimoTokenDivergence',
    workgroupSize: layout.workgroupSize,
    outputs: ['value', 'forwardKl', 'totalVariation', 'gradient'].map(buffer),
    inputs: ['conditional', 'auxiliary', 'weights', ...(isGuided ? ['unconditional', 'guidanceScale'] : [])].map(
      buffer,
    ),
    uniforms: { width: 'u32', rowsPerSample: 'u32', beta: 'f32', teacherFactor: 'f32', auxiliaryFactor: 'f32' },
    code: () => `
fn teacherLogit(i: u32, guidance: f32) -> f32 {
  ${isGuided ? 'let u = unconditional[i]; return (u + guidance * (conditional[i] - u)) * uniforms.teacherFactor;' : 'return conditional[i] * uniforms.teacherFactor;'}
}
fn auxiliaryLogit(i: u32) -> f32 { return auxiliary[i] * uniforms.auxiliaryFactor; }
// Maximum, sum of exponentials, and sum of exponentials times d, of teacher (p) and auxiliary (q).
fn merge(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  let largest = max(a.x, b.x);
  let keepA = exp(a.x - largest);
  let keepB = exp(b.x - largest);
  return vec4<f32>(largest, a.y * keepA + b.y * keepB, a.z * keepA + b.z * keepB, 0.0);
}
${rowReduction(tuning, 'mergeAll', 'merge(a, b)', 'vec4<f32>')}
${rowReduction(tuning, 'rowSum', 'a + b')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let start = row * uniforms.width;
  ${isGuided ? 'let guidance = guidanceScale[row / uniforms.rowsPerSample];' : 'let guidance = 0.0;'}
  let teacherOrigin = teacherLogit(start, guidance);
  let auxiliaryOrigin = auxiliaryLogit(start);
  var p = vec4<f32>(${lowest}, 0.0, 0.0, 0.0);
  var q = p;
  for (var i = part; i < uniforms.width; i += parts) {
    let t = teacherLogit(start + i, guidance) - teacherOrigin;
    let a = auxiliaryLogit(start + i) - auxiliaryOrigin;
    p = merge(p, vec4<f32>(t, 1.0, t - a, 0.0));
    q = merge(q, vec4<f32>(a, 1.0, t - a, 0.0));
  }
  p = mergeAll(lane, p);
  q = mergeAll(lane, q);
  let teacherNormalizer = p.x + log(p.y);
  let auxiliaryNormalizer = q.x + log(q.y);
  let shift = teacherNormalizer - auxiliaryNormalizer;
  let forward = p.z / p.y - shift;
  let reverse = shift - q.z / q.y;
  let beta = uniforms.beta;
  let weight = weights[row];
  var distance = 0.0;
  for (var i = part; i < uniforms.width; i += parts) {
    let logP = teacherLogit(start + i, guidance) - teacherOrigin - teacherNormalizer;
    let logQ = auxiliaryLogit(start + i) - auxiliaryOrigin - auxiliaryNormalizer;
    let probability = exp(logQ);
    let difference = probability - exp(logP);
    distance += abs(difference);
    gradient[start + i] = weight * ((1.0 - beta) * difference + beta * (probability * (logQ - logP - reverse)));
  }
  let variation = 0.5 * rowSum(lane, distance);
  if (part == 0u) {
    value[row] = weight * ((1.0 - beta) * forward + beta * reverse);
    forwardKl[row] = forward;
    totalVariation[row] = variation;
  }
}`,
  };
});

/** unconditional + scale (conditional - unconditional), where the adapter binds too few buffers for one program. */
function guide(
  backend: WebgpuBackend,
  conditional: TensorInfo,
  unconditional: TensorInfo,
  guidanceScale: TensorInfo,
): TensorInfo {
  const perSample = sizeOf(conditional.shape) / Math.max(1, conditional.shape[0]!);
  return guidance(backend, [conditional, unconditional], [guidanceScale], { perSample });
}

const guidance = elementwise({
  name: 'DimoGuidance',
  inputs: ['conditional', 'unconditional'],
  parameters: [{ name: 'guidanceScale', type: 'f32' }],
  output: 'guided',
  uniforms: { perSample: 'u32' },
  isScalar: true,
  code: () => ({
    statements: `let u = unconditional[i];
  guided[i] = u + guidanceScale[i / uniforms.perSample] * (conditional[i] - u);`,
  }),
});
