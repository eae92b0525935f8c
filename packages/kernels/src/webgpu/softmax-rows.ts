/** WGSL for distributions over the last axis: one pass finds the maximum and the sum of exponentials together. */
import { rowReduction, type RowTuning } from './rows.js';

/** Lower than any logit, and finite: -infinity minus itself is not a number. */
export const lowest = '-3.4e38';

/**
 * Functions `logNormalizer(lane, state)` and `observe(state, x)` of an online sum of exponentials: `state` is the
 * maximum so far and the sum of exp(x - maximum).
 */
export function onlineNormalizer(tuning: RowTuning): string {
  return `
fn observe(state: vec2<f32>, x: f32) -> vec2<f32> {
  let largest = max(state.x, x);
  return vec2<f32>(largest, state.y * exp(state.x - largest) + exp(x - largest));
}
fn merge(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let largest = max(a.x, b.x);
  return vec2<f32>(largest, a.y * exp(a.x - largest) + b.y * exp(b.x - largest));
}
${rowReduction(tuning, 'mergeAll', 'merge(a, b)', 'vec2<f32>')}
const nothing = vec2<f32>(${lowest}, 0.0);
fn logNormalizer(lane: u32, state: vec2<f32>) -> f32 {
  let all = mergeAll(lane, state);
  return all.x + log(all.y);
}`;
}
