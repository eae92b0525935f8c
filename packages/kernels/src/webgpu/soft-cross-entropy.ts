/**
 * KL from one token distribution to another with its gradient, in one program: logits are read from memory once, since a
 * second look at the same row comes from the cache.
 */
import type { Kernel } from './kernel.js';
import { programs, runProgram } from './program.js';
import { groupsFor, rowLayout, rowReduction, type RowTuning } from './rows.js';
import { onlineNormalizer } from './softmax-rows.js';

/** [loss, gradient]. */
export const softCrossEntropy: Kernel<'DimoSoftCrossEntropy'> = (
  backend,
  tuning,
  { logits, target, weights },
  { temperature },
) => {
  const [batch, length, width] = logits.shape as [number, number, number];
  return runProgram(backend, softProgram({ lanesPerRow: tuning.lanesPerRow }), {
    inputs: [logits, target, weights],
    outputs: [{ shape: [batch, length] }, { shape: logits.shape }],
    uniforms: {
      width,
      factor: 1 / temperature,
      lossScale: temperature ** 2 / width,
      gradientScale: temperature / width,
    },
    numGroups: groupsFor(batch * length, rowLayout(tuning, 'uniforms.size_weights')),
  });
};

const softProgram = programs((tuning: RowTuning) => {
  const layout = rowLayout(tuning, 'uniforms.size_weights');
  const buffer = (name: string) => ({ name, type: 'f32' as const });
  return {
    name: 'DimoSoftCrossEntropy',
    workgroupSize: layout.workgroupSize,
    outputs: ['loss', 'gradient'].map(buffer),
    inputs: ['logits', 'wanted', 'weights'].map(buffer),
    uniforms: { width: 'u32', factor: 'f32', lossScale: 'f32', gradientScale: 'f32' },
    code: () => `
${onlineNormalizer(tuning)}
${rowReduction(tuning, 'rowSum', 'a + b')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let start = row * uniforms.width;
  var predictedState = nothing;
  var wantedState = nothing;
  for (var i = part; i < uniforms.width; i += parts) {
    predictedState = observe(predictedState, logits[start + i] * uniforms.factor);
    wantedState = observe(wantedState, wanted[start + i] * uniforms.factor);
  }
  let predictedNormalizer = logNormalizer(lane, predictedState);
  let wantedNormalizer = logNormalizer(lane, wantedState);
  let weight = weights[row];
  var sum = 0.0;
  for (var i = part; i < uniforms.width; i += parts) {
    let logP = logits[start + i] * uniforms.factor - predictedNormalizer;
    let logQ = wanted[start + i] * uniforms.factor - wantedNormalizer;
    let q = exp(logQ);
    sum += q * (logQ - logP);
    gradient[start + i] = weight * uniforms.gradientScale * (exp(logP) - q);
  }
  let divergence = rowSum(lane, sum);
  if (part == 0u) { loss[row] = weight * uniforms.lossScale * divergence; }
}`,
  };
});
