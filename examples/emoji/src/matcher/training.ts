/** Training of the matcher: which of the batch's names belongs to a picture. */
import {
  float32,
  gradientThroughLogits,
  int32,
  maskedCrossEntropy,
  phaseProgram,
  randomStream,
  resolveOptimizer,
  subtree,
  withPrefix,
  type DatasetSplit,
  type PhaseGradients,
  type PhaseInputs,
  type TensorTree,
  type TrainingProgram,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { imageBytes, imageSide } from '../data/pictures.js';
import type { Vocabulary } from '@dimo/teacher-words';
import { imageVectors, initializeMatcher, matcherParameters, matcherTextLength, textVectors } from './network.js';

/** Settings. */
export interface MatcherTrainingOptions {
  readonly numSteps: number;
  /** @default 192 */
  readonly batchSize?: number;
  /** Peak learning rate. @default 2e-3 */
  readonly learningRate?: number;
  /** @default 0 */
  readonly seed?: number;
  /** First vectors of the words, float32 [words + 1, 96]. */
  readonly wordVectors?: Float32Array;
}

const optimizer = resolveOptimizer({ kind: 'adamw', beta1: 0.9, beta2: 0.98, weightDecay: 0.01 });
/** Multiplies the cosines: a temperature of 1/15. */
const sharpness = 15;

function matcherGradients(weights: TensorTree, inputs: TensorTree): PhaseGradients {
  const batch = inputs['images']!.shape[0]!;
  return gradientThroughLogits(
    weights,
    (trained) => {
      const images = imageVectors(trained, inputs['images'] as Tensor4D);
      const texts = textVectors(trained, inputs['words'] as Tensor2D);
      return tf.mul(tf.matMul(images, texts, false, true), sharpness);
    },
    (logits) => {
      const { loss, gradient } = maskedCrossEntropy(
        {
          logits: tf.reshape(logits, [batch, 1, batch]) as Tensor3D,
          targets: tf.reshape(inputs['targets']!, [batch, 1]) as Tensor2D,
          weights: tf.fill([batch, 1], 1 / batch) as Tensor2D,
        },
        0,
      );
      const isRight = tf.equal(tf.argMax(logits, 1), inputs['targets']!);
      return {
        gradient: tf.reshape(gradient, logits.shape),
        outputs: { loss: tf.sum(loss), accuracy: tf.mean(tf.cast(isRight, 'float32')) },
      };
    },
  );
}

/**
 * Program that trains the matcher on the first text of each image, moved by up to 2 pixels, with noise. State:
 * `matcher/<p>`, `optimizer/m/<p>`, `optimizer/v/<p>`. Metrics: `loss`, `accuracy` (of the batch), `learningRate`.
 */
export function matcherTrainingProgram(
  split: DatasetSplit<Uint8Array>,
  vocabulary: Vocabulary,
  { numSteps, batchSize = 192, learningRate = 2e-3, seed = 0, wordVectors }: MatcherTrainingOptions,
): TrainingProgram<PhaseInputs> {
  const numWords = vocabulary.words.length;
  const names = split.texts!.map((texts) => texts[0]!);
  return phaseProgram({
    name: 'emoji-matcher',
    numSteps,
    batchSize,
    onNonFinite: 'throw',
    initialWeights: () =>
      withPrefix('matcher', initializeMatcher(randomStream(seed, 0, 'matcher/weights'), numWords, wordVectors)),
    phases: [
      {
        trains: { prefix: 'matcher', parameters: matcherParameters(numWords) },
        // Which names differ depends on the whole batch, so its numbers are those of the step.
        draw({ step }) {
          const order = randomStream(seed, step, 'matcher/rows').permutation(split.count);
          const rows = differentNames(order, names, batchSize);
          return {
            images: movedImages(split.pixels, rows, seed, step),
            words: vocabulary.encode(
              rows.map((row) => names[row]!),
              matcherTextLength,
            ),
            targets: int32(
              [batchSize],
              rows.map((_, i) => i),
            ),
          };
        },
        gradients: (state, inputs) => matcherGradients(subtree('matcher', state), inputs),
        optimizer,
        learningRate: (step) =>
          learningRate * Math.min(1, (step + 1) / 50) * (0.02 + 0.49 * (1 + Math.cos((Math.PI * step) / numSteps))),
      },
    ],
  });
}

/** Images of different names, so that every other name of the batch is wrong. */
function differentNames(order: Int32Array, names: readonly string[], count: number): number[] {
  const seen = new Set<string>();
  const rows: number[] = [];
  for (const row of order) {
    if (rows.length === count) break;
    if (seen.has(names[row]!)) continue;
    seen.add(names[row]!);
    rows.push(row);
  }
  return rows;
}

function movedImages(pixels: Uint8Array, rows: readonly number[], seed: number, step: number) {
  const moves = randomStream(seed, step, 'matcher/moves').integers(rows.length * 2, 5);
  const noise = randomStream(seed, step, 'matcher/noise').normal(rows.length * imageBytes);
  const data = new Float32Array(rows.length * imageBytes);
  rows.forEach((row, i) => {
    const [dy, dx] = [moves[2 * i]! - 2, moves[2 * i + 1]! - 2];
    for (let y = 0; y < imageSide; y++)
      for (let x = 0; x < imageSide; x++) {
        const [sy, sx] = [y + dy, x + dx];
        const isInside = sy >= 0 && sy < imageSide && sx >= 0 && sx < imageSide;
        for (let c = 0; c < 3; c++) {
          const target = i * imageBytes + (y * imageSide + x) * 3 + c;
          const value = isInside ? pixels[row * imageBytes + (sy * imageSide + sx) * 3 + c]! / 255 : 1;
          data[target] = value + 0.04 * noise[target]!;
        }
      }
  });
  return float32([rows.length, imageSide, imageSide, 3], data);
}
