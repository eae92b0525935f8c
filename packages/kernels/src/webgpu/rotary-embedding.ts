/** Rotation of neighbouring channels by angles that depend on the position. */
import type { Kernel } from './kernel.js';
import { runProgram, sizeOf, type Program } from './program.js';

/** (x0, x1) -> (x0 c - x1 s, x1 c + x0 s), the same angles for all heads. A lane takes one pair. */
export const rotaryEmbedding: Kernel<'DimoRotaryEmbedding'> = (backend, _, { x, cosines, sines }, { numHeads }) => {
  const [, length, width] = x.shape as [number, number, number];
  return runProgram(backend, rotation, {
    inputs: [x, cosines, sines],
    outputs: [{ shape: x.shape }],
    uniforms: { length, numPairs: width / numHeads / 2, pairsPerRow: width / 2 },
    numGroups: Math.ceil(sizeOf(x.shape) / 2 / rotation.workgroupSize),
  });
};

const rotation: Program = {
  name: 'DimoRotaryEmbedding',
  workgroupSize: 64,
  outputs: [{ name: 'y', type: 'vec2<f32>' }],
  inputs: [
    { name: 'x', type: 'vec2<f32>' },
    { name: 'cosines', type: 'f32' },
    { name: 'sines', type: 'f32' },
  ],
  uniforms: { length: 'u32', numPairs: 'u32', pairsPerRow: 'u32' },
  code: () => `
fn run(group: u32, lane: u32) {
  let i = group * workgroupSize + lane;
  if (i >= uniforms.size_y / 2u) { return; }
  let position = (i / uniforms.pairsPerRow) % uniforms.length;
  let angle = position * uniforms.numPairs + i % uniforms.numPairs;
  let pair = x[i];
  let c = cosines[angle];
  let s = sines[angle];
  y[i] = vec2<f32>(pair.x * c - pair.y * s, pair.y * c + pair.x * s);
}`,
};
