/** Weighted cross-entropy of token predictions with its gradient, in one program. */
import type { Kernel } from './kernel.js';
import { programs, runProgram } from './program.js';
import { groupsFor, rowLayout, rowReduction, type RowTuning } from './rows.js';
import { onlineNormalizer } from './softmax-rows.js';

/** [loss, negativeLogLikelihood, gradient]. */
export const maskedCrossEntropy: Kernel<'DimoMaskedCrossEntropy'> = (
  backend,
  tuning,
  { logits, targets, weights },
  { labelSmoothing },
) => {
  const [batch, length, width] = logits.shape as [number, number, number];
  const layout = rowLayout(tuning, 'uniforms.size_weights');
  return runProgram(backend, crossEntropyProgram({ lanesPerRow: tuning.lanesPerRow }), {
    inputs: [logits, targets, weights],
    outputs: [{ shape: [batch, length] }, { shape: [batch, length] }, { shape: logits.shape }],
    uniforms: { width, labelSmoothing },
    numGroups: groupsFor(batch * length, layout),
  });
};

const crossEntropyProgram = programs((tuning: RowTuning) => {
  const layout = rowLayout(tuning, 'uniforms.size_weights');
  return {
    name: 'DimoMaskedCrossEntropy',
    workgroupSize: layout.workgroupSize,
    outputs: ['loss', 'likelihood', 'gradient'].map((name) => ({ name, type: 'f32' as const })),
    inputs: [
      { name: 'logits', type: 'f32' },
      { name: 'targets', type: 'i32' },
      { name: 'weights', type: 'f32' },
    ],
    uniforms: { width: 'u32', labelSmoothing: 'f32' },
    code: () => `
${onlineNormalizer(tuning)}
${rowReduction(tuning, 'rowSum', 'a + b')}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let start = row * uniforms.width;
  var state = nothing;
  for (var i = part; i < uniforms.width; i += parts) { state = observe(state, logits[start + i]); }
  let normalizer = logNormalizer(lane, state);
  let weight = weights[row];
  let chosen = u32(targets[row]);
  let even = uniforms.labelSmoothing / f32(uniforms.width);
  var sum = 0.0;
  for (var i = part; i < uniforms.width; i += parts) {
    let logProbability = logits[start + i] - normalizer;
    sum += logProbability;
    let wanted = even + select(0.0, 1.0 - uniforms.labelSmoothing, i == chosen);
    gradient[start + i] = weight * (exp(logProbability) - wanted);
  }
  let total = rowSum(lane, sum);
  if (part == 0u) {
    // A target outside of the vocabulary has probability 0 everywhere else; here, the value nearest to it.
    let negative = normalizer - logits[start + min(chosen, uniforms.width - 1u)];
    likelihood[row] = weight * negative;
    loss[row] = weight * ((1.0 - uniforms.labelSmoothing) * negative - even * total);
  }
}`,
  };
});
