/** Categorical sampling by inverting the cumulative distribution, in one program and without writing it down. */
import type { Kernel } from './kernel.js';
import { programs, runProgram } from './program.js';
import { groupsFor, rowLayout, rowReduction, type RowTuning } from './rows.js';
import { lowest } from './softmax-rows.js';

/** int32 [batch, L]: the first id whose cumulative probability exceeds the uniform number. */
export const sampleCategorical: Kernel<'DimoSampleCategorical'> = (backend, tuning, { logits, uniforms }) => {
  const [batch, length, width] = logits.shape as [number, number, number];
  const layout = rowLayout(tuning, 'uniforms.size_draws');
  return runProgram(backend, samplingProgram({ lanesPerRow: tuning.lanesPerRow }), {
    inputs: [logits, uniforms],
    outputs: [{ shape: [batch, length], dtype: 'int32' }],
    uniforms: { width },
    numGroups: groupsFor(batch * length, layout),
  });
};

/** Each lane owns a run of neighbouring ids; the lane in whose run the uniform number falls looks closer. */
const samplingProgram = programs((tuning: RowTuning) => {
  const layout = rowLayout(tuning, 'uniforms.size_draws');
  const isShared = tuning.lanesPerRow > 1;
  return {
    name: 'DimoSampleCategorical',
    workgroupSize: layout.workgroupSize,
    outputs: [{ name: 'ids', type: 'i32' }],
    inputs: [
      { name: 'logits', type: 'f32' },
      { name: 'draws', type: 'f32' },
    ],
    uniforms: { width: 'u32' },
    code: () => `
${rowReduction(tuning, 'rowMaximum', 'max(a, b)')}
${isShared ? `var<workgroup> masses: array<f32, ${tuning.lanesPerRow}>;` : ''}
fn run(group: u32, lane: u32) {
  ${layout.prologue}
  let start = row * uniforms.width;
  let share = (uniforms.width + parts - 1u) / parts;
  let first = part * share;
  let end = min(first + share, uniforms.width);
  var largest = ${lowest};
  for (var i = first; i < end; i++) { largest = max(largest, logits[start + i]); }
  largest = rowMaximum(lane, largest);
  var mass = 0.0;
  for (var i = first; i < end; i++) { mass += exp(logits[start + i] - largest); }
  var before = 0.0;
  var total = mass;
  ${
    isShared
      ? `masses[lane] = mass;
  workgroupBarrier();
  total = 0.0;
  for (var i = 0u; i < parts; i++) { if (i == part) { before = total; } total += masses[i]; }
  workgroupBarrier();`
      : ''
  }
  let wanted = draws[row] * total;
  // The runs touch: what ends one begins the next, so one lane finds the number in its own. The last lane also takes
  // what rounding left over, and rows that are not numbers: an id is always written.
  let isLast = end == uniforms.width;
  let isBeyond = !(wanted < before);
  if (first < end && (isBeyond || first == 0u) && (before + mass > wanted || isLast)) {
    var cumulative = before;
    var id = end - 1u;
    for (var i = first; i < end; i++) {
      let probability = exp(logits[start + i] - largest);
      if (probability > 0.0) { id = i; }
      cumulative += probability;
      if (cumulative > wanted) { break; }
    }
    ids[row] = i32(id);
  }
}`,
  };
});
