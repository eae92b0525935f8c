/** The configurations of the training benchmark and the arithmetic in them. */

const common = { codes: 64, classes: 10, heads: 4 };

/**
 * Model and batch by name; `target` is the required ratio to PyTorch's rate, `memory` the allowed ratio to its peak. Those
 * that are `alone` are so large that one process runs after the other.
 */
export const cases = {
  'h128-d4': { hidden: 128, depth: 4, mlp: 512, grid: 7, batch: 64, target: 1.5, memory: 1.3, ...common },
  'h256-d6': { hidden: 256, depth: 6, mlp: 1024, grid: 8, batch: 32, target: 1.4, memory: 1.3, ...common },
};

/** The class-conditional ImageNet model at 256 x 256: bench/webgpu.mjs --full-size. */
export const fullSize = {
  hidden: 768,
  depth: 24,
  mlp: 3072,
  grid: 16,
  heads: 16,
  codes: 1024,
  classes: 1000,
  batch: 16,
};

/** A model that has all of the full one's parts and no size, to see that every line of a program runs. */
export const tinySize = { hidden: 32, depth: 1, mlp: 64, grid: 3, heads: 2, codes: 16, classes: 5, batch: 2 };

/** For training on a CPU, beside those above: the full-size model, one of a third of its depth to try things with, and a tiny one. */
export const largeCases = {
  full: { ...fullSize, batch: 2, target: 1, memory: 1.15, alone: true },
  third: { ...fullSize, depth: 8, batch: 2, target: 1, memory: 1.15, alone: true },
  tiny: { ...tinySize, target: 0, memory: Infinity },
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
export function flopsPerStep(size) {
  const output = 2 * size.batch * size.grid ** 2 * size.hidden * (size.codes + 1);
  return 10 * flopsPerForward(size) - 2 * output;
}

/** Floating-point operations of the matrix products of one forward pass of a batch: one-step generation. */
export function flopsPerForward({ hidden, depth, mlp, grid, batch, codes }) {
  const positions = grid * grid;
  const sequence = positions + 1;
  const block = 4 * hidden * hidden + 2 * hidden * mlp + 2 * sequence * hidden;
  const output = positions * hidden * (codes + 1);
  return 2 * batch * (sequence * (2 * hidden * hidden + depth * block) + positions * hidden * hidden + output);
}

/**
 * Bytes that one full step has to move at least if every op reads its operands and writes its results once: activations
 * of ten forward passes' worth (a backward pass is two), logits, weights in every pass, gradients, Adam and the average.
 */
export function bytesPerStep(size) {
  const { parameters, activations } = bytesParts(size);
  // Six forward and four backward passes read weights; two sets of gradients; p, g, m, v and (once) the average, read and
  // written.
  return 10 * activations + (10 + 2 + 2 * 7 + 2) * parameters;
}

/** The same for one forward pass. */
export function bytesPerForward(size) {
  const { parameters, activations } = bytesParts(size);
  return parameters + activations;
}

function bytesParts({ hidden, depth, mlp, grid, batch, codes }) {
  const rows = batch * (grid * grid + 1);
  // Two norms, q k v, attention, projection, two residual sums, and the MLP with its activation.
  const perLayer = rows * (22 * hidden + 4 * mlp);
  return {
    parameters: 4 * (depth * (4 * hidden * hidden + 2 * hidden * mlp) + (codes + 1) * hidden),
    activations: 4 * (depth * perLayer + batch * grid * grid * (codes + 1)),
  };
}
