/** Every fused kernel with its least traffic (each operand read once, each result written once) and arithmetic. */
import {
  adamUpdate,
  attention,
  drawnTensor,
  drawOnDevice,
  gelu,
  globalNorm,
  layerNorm,
  linear,
  maskedCrossEntropy,
  matrixProduct,
  randomStream,
  rmsNorm,
  rotaryEmbedding,
  sampleCategorical,
  softCrossEntropy,
  tokenDivergence,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';

let drawn = 0;

/** Normal numbers. */
export function random(...shape) {
  const size = shape.reduce((a, b) => a * b, 1);
  return tf.tensor(randomStream(1, 0, `bench/${drawn++}`).normal(size), shape);
}

const sizeOf = (shape) => shape.reduce((a, b) => a * b, 1);
const bytesOf = (...tensors) => tensors.reduce((sum, { shape }) => sum + 4 * sizeOf(shape), 0);
const gradientOf =
  (f, args, ...more) =>
  () =>
    tf.grads((...given) => tf.sum(f(...given, ...more)))(args);

/** [name, what runs, bytes, FLOP] of each. */
export function kernelCases(model, batch) {
  const { hidden, mlp, grid, heads, codes } = model;
  const positions = grid * grid + 1;
  const rows = batch * positions;
  const numLogits = codes + 1;
  const x = random(batch, positions, hidden);
  const wide = random(rows, mlp);
  const [scale, offset] = [random(hidden), random(hidden)];
  const [weight, bias] = [random(mlp, hidden), random(mlp)];
  const [logits, other, auxiliary] = [0, 1, 2].map(() => random(batch, positions, numLogits));
  const weights = tf.ones([batch, positions]);
  const angles = random(positions, hidden / heads / 2);
  const attend = (q, k, v) => attention(q, k, v, { numHeads: heads });
  const rotate = (given) => rotaryEmbedding(given, { cosines: tf.cos(angles), sines: tf.sin(angles) }, heads);
  const layerNormed = (...given) => layerNorm(...given, { epsilon: 1e-5 });
  const rmsNormed = (...given) => rmsNorm(...given, { epsilon: 1e-6 });
  const scores = 2 * batch * positions * positions * hidden;
  const product = 2 * rows * hidden * mlp;
  const guided = { conditional: logits, unconditional: other, guidanceScale: tf.fill([batch], 2), auxiliary, weights };
  const targets = tf.zeros([batch, positions], 'int32');
  const noise = [batch, positions, hidden];
  return [
    ['layerNorm', () => layerNormed(x, scale, offset), bytesOf(x, x), 8 * x.size],
    ['layerNorm + gradient', gradientOf(layerNormed, [x, scale, offset]), 5 * bytesOf(x), 24 * x.size],
    ['rmsNorm', () => rmsNormed(x, scale), bytesOf(x, x), 5 * x.size],
    ['rmsNorm + gradient', gradientOf(rmsNormed, [x, scale]), 5 * bytesOf(x), 17 * x.size],
    ['rotaryEmbedding', () => rotate(x), bytesOf(x, x), 3 * x.size],
    ['rotaryEmbedding + gradient', gradientOf(rotate, [x]), 4 * bytesOf(x), 6 * x.size],
    ['gelu', () => gelu(wide), 2 * bytesOf(wide), 20 * wide.size],
    ['gelu + gradient', gradientOf(gelu, [wide]), 5 * bytesOf(wide), 50 * wide.size],
    ['attention', () => attend(x, x, x), 4 * bytesOf(x), 2 * scores],
    ['attention + gradient', gradientOf(attend, [x, x, x]), 14 * bytesOf(x), 9 * scores],
    ['matrixProduct, x w', () => matrixProduct(wide, weight), bytesOf(wide, weight, x), product],
    [
      'matrixProduct, x^T y',
      () => matrixProduct(wide, tf.reshape(x, [rows, hidden]), true),
      bytesOf(wide, weight, x),
      product,
    ],
    ['linear', () => linear(x, weight, bias), bytesOf(x, weight, wide), product],
    ['linear + gradient', gradientOf(linear, [x, weight, bias]), 3 * bytesOf(x, weight, wide), 3 * product],
    [
      'tokenDivergence, guided',
      () => Object.values(tokenDivergence(guided, { beta: -0.2, teacherTemperature: 1, auxiliaryTemperature: 1 })),
      4 * bytesOf(logits),
      30 * logits.size,
    ],
    [
      'maskedCrossEntropy',
      () => Object.values(maskedCrossEntropy({ logits, targets, weights }, 0.1)),
      2 * bytesOf(logits),
      12 * logits.size,
    ],
    [
      'softCrossEntropy',
      () => Object.values(softCrossEntropy({ logits, target: other, weights }, 1)),
      3 * bytesOf(logits),
      20 * logits.size,
    ],
    ['sampleCategorical', () => sampleCategorical(logits, weights), bytesOf(logits), 6 * logits.size],
    [
      'normal noise, drawn and there',
      // Integer arithmetic: no FLOP. A new one each time, or the host's numbers would be kept.
      () => {
        const made = drawnTensor(noise, randomStream(2, 0, 'bench/noise'), 'normal');
        return drawOnDevice(made) ?? tf.neg(tf.tensor(made.data, noise));
      },
      4 * sizeOf(noise),
      0,
    ],
    ...updateCases(model),
  ];
}

/** The optimizer over the shapes of one layer, four times. */
function updateCases({ hidden, mlp }) {
  const shapes = [[3 * hidden, hidden], [3 * hidden], [hidden, hidden], [hidden], [mlp, hidden], [mlp], [hidden, mlp]];
  const parameters = [0, 1, 2, 3].flatMap(() => [...shapes, [hidden], [hidden], [hidden]]);
  const tensors = parameters.map((shape) => {
    const [parameter, gradient, firstMoment, average] = [0, 1, 2, 3].map(() => random(...shape));
    return { parameter, gradient, firstMoment, secondMoment: tf.square(gradient), average };
  });
  const gradients = tensors.map(({ gradient }) => gradient);
  const scalars = { gradientScale: 1, stepSize: 1e-3, rootCorrection: 1, decay: 0, apply: 1, averageRate: 1e-4 };
  const onDevice = Object.fromEntries(Object.entries(scalars).map(([name, value]) => [name, tf.scalar(value)]));
  const constants = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
  const count = gradients.reduce((sum, { size }) => sum + size, 0);
  return [
    [
      'adamUpdate with average',
      () => adamUpdate(tensors, onDevice, constants).flatMap((updated) => Object.values(updated)),
      9 * 4 * count,
      15 * count,
    ],
    ['globalNorm', () => globalNorm(gradients), 4 * count, 2 * count],
  ];
}
