/** Training of the classifier: Adam with a one-cycle learning rate, cross-entropy, dropout as an input. */
import {
  DimoError,
  epochRows,
  float32,
  gradientThroughLogits,
  int32,
  maskedCrossEntropy,
  OptionError,
  parseOptions,
  phaseProgram,
  pickOptions,
  randomStream,
  readImages,
  resolveOptimizer,
  runTraining,
  sampleStream,
  subtree,
  withPrefix,
  type Dataset,
  type DatasetSplit,
  type Engine,
  type GivenOptions,
  type HostTree,
  type PhaseGradients,
  type PhaseInputs,
  type TensorTree,
  type TrainingProgram,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { z } from 'zod';
import { classConsistency } from './class-metrics.js';
import {
  classifierExtractor,
  classifierParametersOf,
  classify,
  initializeClassifier,
  type ClassifierSize,
} from './classifier.js';
import { extractFeatures, splitSource } from './feature-extractor.js';
import { classifierTrainingOptions } from './options.js';

/** Settings of classifier training. */
export type ClassifierTrainingOptions = GivenOptions<typeof classifierTrainingOptions>;

const schema = z.strictObject(classifierTrainingOptions);
const optimizer = resolveOptimizer({ kind: 'adam' });

/**
 * One-cycle learning rate (Smith and Topin, arXiv 1708.07120) with PyTorch's constants: a cosine from peak / 25 up to
 * the peak over the first 30 % of the steps, then one down to peak / 250,000.
 *
 * @param progress - step / (numSteps - 1), [0, 1].
 */
export function oneCycle(peak: number, progress: number): number {
  const rise = 0.3;
  const cosine = (from: number, to: number, t: number) => to + ((from - to) * (1 + Math.cos(Math.PI * t))) / 2;
  return progress < rise
    ? cosine(peak / 25, peak, progress / rise)
    : cosine(peak, peak / 250_000, (progress - rise) / (1 - rise));
}

/** Cross-entropy of a batch of `batchSize` images, of which `inputs` may hold a part. */
function classifierGradients(weights: TensorTree, inputs: TensorTree, batchSize: number): PhaseGradients {
  const images = inputs['images'] as Tensor4D;
  const count = images.shape[0];
  return gradientThroughLogits(
    weights,
    (trained) => classify(trained, images, inputs['dropout'] as Tensor2D).logits,
    (logits) => {
      const { loss, gradient } = maskedCrossEntropy(
        {
          logits: tf.reshape(logits, [count, 1, logits.shape[1]!]) as Tensor3D,
          targets: tf.reshape(inputs['labels']!, [count, 1]) as Tensor2D,
          weights: tf.fill([count, 1], 1 / batchSize) as Tensor2D,
        },
        0,
      );
      const isRight = tf.cast(tf.equal(tf.argMax(logits, 1), inputs['labels']!), 'float32');
      return {
        gradient: tf.reshape(gradient, logits.shape),
        outputs: { loss: tf.sum(loss), accuracy: tf.div(tf.sum(isRight), batchSize) },
      };
    },
  );
}

/**
 * Program that trains the classifier. State: `classifier/<p>`, `optimizer/m/<p>`, `optimizer/v/<p>`. Metrics: `loss`
 * (nats), `accuracy` (of the batch, with dropout), `gradientNorm`, `learningRate`.
 *
 * @throws OptionError for a wrong setting.
 */
export function classifierTrainingProgram(
  dataset: Dataset,
  options: ClassifierTrainingOptions = {},
): TrainingProgram<PhaseInputs> {
  const resolved = parseOptions(schema, pickOptions(classifierTrainingOptions, options), 'classifier');
  const { epochs, batchSize, learningRate, dropout, featureLength, seed } = resolved;
  const { train, imageShape } = dataset;
  const size = { ...classifierSizeOf(dataset), featureLength };
  if (batchSize > train.count)
    throw new OptionError(`classifier: batchSize must be an integer from 1 to ${train.count}, got ${batchSize}`);
  const batchesPerEpoch = Math.floor(train.count / batchSize);
  const numSteps = resolved.numSteps ?? Math.ceil(epochs * batchesPerEpoch);
  const order = epochRows(train.count, seed, 'classifier/epoch');
  return phaseProgram({
    name: 'classifier',
    numSteps,
    batchSize,
    onNonFinite: 'throw',
    initialWeights: () =>
      withPrefix('classifier', initializeClassifier(randomStream(seed, 0, 'classifier/weights'), size)),
    phases: [
      {
        trains: { prefix: 'classifier', parameters: classifierParametersOf(size) },
        async draw({ first, count }) {
          const indices = order(first, count);
          const uniforms = sampleStream(seed, first, count, 'classifier/dropout').uniform(count * featureLength);
          return {
            images: await readImages(imageShape, train, indices),
            labels: int32([count], labelsOf(train, indices)),
            dropout: float32(
              [count, featureLength],
              uniforms.map((u) => (u < dropout ? 0 : 1 / (1 - dropout))),
            ),
          };
        },
        gradients: (state, inputs) => classifierGradients(subtree('classifier', state), inputs, batchSize),
        optimizer,
        learningRate: (step) => oneCycle(learningRate, step / Math.max(1, numSteps - 1)),
      },
    ],
  });
}

/** Arguments of `trainClassifier`. */
export interface TrainClassifierOptions extends ClassifierTrainingOptions {
  readonly engine: Engine;
  readonly dataset: Dataset;
  /** Called after every step. */
  readonly onProgress?: (progress: {
    readonly step: number;
    readonly numSteps: number;
    readonly metrics: Readonly<Record<string, number>>;
  }) => void;
  readonly signal?: AbortSignal;
}

/** A trained classifier. */
export interface TrainedClassifier {
  /** As `classifierParametersOf` says. */
  readonly weights: HostTree;
  /** Fraction of all test images that it classifies right; absent without test images. */
  readonly testAccuracy?: number;
}

/**
 * Trains the classifier and tests it on the whole test split.
 *
 * @throws DimoError with code `cancelled` if `signal` stops it.
 */
export async function trainClassifier(options: TrainClassifierOptions): Promise<TrainedClassifier> {
  const { engine, dataset, onProgress, signal } = options;
  const program = classifierTrainingProgram(dataset, options);
  const { numSteps } = program;
  const { state, stopped } = await runTraining(program, {
    engine,
    ...(signal ? { signal } : {}),
    onStep: ({ step, metrics }) => onProgress?.({ step, numSteps, metrics }),
  });
  if (stopped) throw new DimoError('cancelled', `training the classifier of ${dataset.name} was stopped`);
  const weights = subtree('classifier', state);
  if (dataset.test.count === 0) return { weights };
  return { weights, testAccuracy: await classifierAccuracy({ engine, dataset, weights }) };
}

/** Fraction of the images of the test split that the classifier gets right, in [0, 1]. */
export async function classifierAccuracy(options: {
  readonly engine: Engine;
  readonly dataset: Dataset;
  readonly weights: HostTree;
}): Promise<number> {
  const { engine, dataset, weights } = options;
  const { test, imageShape } = dataset;
  const size = { ...classifierSizeOf(dataset), featureLength: weights['hidden.bias']!.shape[0]! };
  const { logits } = await extractFeatures({
    engine,
    extractor: classifierExtractor(weights, `${dataset.name}-classifier`, size),
    images: splitSource(imageShape, test),
  });
  return classConsistency(logits!, test.labels.data);
}

/** Size of the classifier of a dataset. */
export function classifierSizeOf({
  imageShape,
  classNames,
}: Pick<Dataset, 'imageShape' | 'classNames'>): ClassifierSize {
  return { imageShape, numClasses: classNames.length };
}

function labelsOf(split: DatasetSplit, indices: Int32Array): Int32Array {
  return indices.map((index) => split.labels.data[index]!);
}
