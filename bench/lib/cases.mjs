/** The configurations of the training benchmark and the arithmetic in them. */

const common = { codes: 64, classes: 10, heads: 4 };

/** Model and batch by name; `target` is the required ratio to PyTorch. */
export const cases = {
  'h128-d4': { hidden: 128, depth: 4, mlp: 512, grid: 7, batch: 64, target: 1.5, ...common },
  'h256-d6': { hidden: 256, depth: 6, mlp: 1024, grid: 8, batch: 32, target: 1.4, ...common },
};

/** Settings that both sides use: the official step (guided teacher, clipped Adam, moving average). */
export const step = {
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-6,
  generatorLearningRate: 1e-4,
  auxiliaryLearningRate: 1e-4,
  guidance: 2,
  initialMaskRatio: 0.6,
  noise: 0.1,
  clipNorm: 1,
  labelSmoothing: 0.1,
  averageDecay: 0.9999,
};

/**
 * Floating-point operations of the matrix products of one full step (generator and auxiliary), batch included.
 *
 * Forward passes: generator twice, teacher twice (guidance), auxiliary twice; backward passes of generator and
 * auxiliary cost two forward passes each, less the gradient of the output projection, which is fixed.
 */
export function flopsPerStep({ hidden, depth, mlp, grid, batch, codes }) {
  const positions = grid * grid;
  const sequence = positions + 1;
  const block = 4 * hidden * hidden + 2 * hidden * mlp + 2 * sequence * hidden;
  const output = positions * hidden * (codes + 1);
  const forward = sequence * (2 * hidden * hidden + depth * block) + positions * hidden * hidden + output;
  return 2 * batch * (10 * forward - 2 * output);
}
