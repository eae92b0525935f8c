/** Training of the classifier: Adam with a one-cycle learning rate, cross-entropy, dropout as an input. */
import {
  applyOptimizer,
  DimoError,
  finishStep,
  float32,
  gradientThroughLogits,
  initialMoments,
  int32,
  maskedCrossEntropy,
  optimizerScalars,
  optimizerScalarSpecs,
  OptionError,
  randomStream,
  resolveOptimizer,
  runTraining,
  subtree,
  withPrefix,
  type Dataset,
  type DatasetSplit,
  type Engine,
  type HostTree,
  type PureFunction,
  type TrainingProgram,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import { classConsistency } from './class-metrics.js';
import {
  classifierExtractor,
  classifierFeatureLength,
  classifierParametersOf,
  classify,
  initializeClassifier,
  type ClassifierSize,
} from './classifier.js';
import { extractFeatures, splitSource } from './feature-extractor.js';

/** Settings of classifier training. */
export interface ClassifierTrainingOptions {
  /** Passes over the training split. @default 3 */
  readonly epochs?: number;
  /** Steps, instead of `epochs`. */
  readonly numSteps?: number;
  /** @default 128 */
  readonly batchSize?: number;
  /** Peak of the one-cycle schedule. @default 2e-3 */
  readonly learningRate?: number;
  /** Probability with which a feature is dropped, [0, 1). @default 0.3 */
  readonly dropout?: number;
  /** Width of the features. @default 128 */
  readonly featureLength?: number;
  /** Seed of weights, order and dropout. @default 0 */
  readonly seed?: number;
}

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

/** One pure step: loss and gradient at a batch, Adam. */
const trainStep: PureFunction = (state, inputs) => {
  const weights = subtree('classifier', state);
  const images = inputs['images'] as Tensor4D;
  const batch = images.shape[0];
  const { gradients, outputs } = gradientThroughLogits(
    weights,
    (trained) => classify(trained, images, inputs['dropout'] as Tensor2D).logits,
    (logits) => {
      const { loss, gradient } = maskedCrossEntropy(
        {
          logits: tf.reshape(logits, [batch, 1, logits.shape[1]!]) as Tensor3D,
          targets: tf.reshape(inputs['labels']!, [batch, 1]) as Tensor2D,
          weights: tf.fill([batch, 1], 1 / batch) as Tensor2D,
        },
        0,
      );
      const isRight = tf.equal(tf.argMax(logits, 1), inputs['labels']!);
      return {
        gradient: tf.reshape(gradient, logits.shape),
        outputs: { loss: tf.sum(loss), accuracy: tf.mean(tf.cast(isRight, 'float32')) },
      };
    },
  );
  const update = applyOptimizer(
    {
      parameters: weights,
      gradients,
      moments: subtree('optimizer', state),
      scalars: subtree('optimizer', inputs),
      loss: outputs['loss']!,
    },
    optimizer,
    'throw',
  );
  return {
    state: { ...withPrefix('classifier', update.parameters), ...withPrefix('optimizer', update.moments) },
    outputs: { ...outputs, gradientNorm: update.gradientNorm, applied: update.applied },
  };
};

/**
 * Program that trains the classifier. State: `classifier/<p>`, `optimizer/m/<p>`, `optimizer/v/<p>`. Metrics: `loss`
 * (nats), `accuracy` (of the batch, with dropout), `gradientNorm`, `learningRate`.
 *
 * @throws OptionError for a wrong setting.
 */
export function classifierTrainingProgram(
  dataset: Dataset,
  options: ClassifierTrainingOptions = {},
): TrainingProgram<HostTree> {
  const { epochs = 3, batchSize = 128, learningRate = 2e-3, dropout = 0.3, seed = 0 } = options;
  const { featureLength = classifierFeatureLength } = options;
  const { train, imageShape } = dataset;
  const size = { ...classifierSizeOf(dataset), featureLength };
  if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= train.count))
    throw new OptionError(`classifier: batchSize must be an integer from 1 to ${train.count}, got ${batchSize}`);
  if (!(epochs > 0) || !(dropout >= 0 && dropout < 1) || !(learningRate > 0))
    throw new OptionError(
      `classifier: epochs and learningRate must be positive and dropout in [0, 1), got ${epochs}, ${learningRate}, ${dropout}`,
    );
  const batchesPerEpoch = Math.floor(train.count / batchSize);
  const numSteps = options.numSteps ?? Math.ceil(epochs * batchesPerEpoch);
  const rateAt = (step: number) => oneCycle(learningRate, step / Math.max(1, numSteps - 1));
  const rows = shuffledRows(train.count, batchSize, seed);
  return {
    name: 'classifier',
    numSteps,
    batchSize,
    functions: {
      train: {
        fn: trainStep,
        inputs: {
          images: { dtype: 'float32', shape: [batchSize, ...imageShape] },
          labels: { dtype: 'int32', shape: [batchSize] },
          dropout: { dtype: 'float32', shape: [batchSize, featureLength] },
          ...withPrefix('optimizer', optimizerScalarSpecs),
        },
      },
    },
    initialState: () => ({
      ...withPrefix('classifier', initializeClassifier(randomStream(seed, 0, 'classifier/weights'), size)),
      ...withPrefix('optimizer', initialMoments(classifierParametersOf(size))),
    }),
    initialCounters: { updates: 0, skipped: 0 },
    draw(step) {
      const indices = rows(step);
      const uniforms = randomStream(seed, step, 'classifier/dropout').uniform(batchSize * featureLength);
      return {
        images: splitSource(imageShape, train, indices).read(0, batchSize),
        labels: int32([batchSize], labelsOf(train, indices)),
        dropout: float32(
          [batchSize, featureLength],
          uniforms.map((u) => (u < dropout ? 0 : 1 / (1 - dropout))),
        ),
      };
    },
    calls: (step, counters, draws) => [
      {
        fn: 'train',
        inputs: {
          ...draws,
          ...withPrefix('optimizer', optimizerScalars(optimizer, rateAt(step), counters['updates'] ?? 0)),
        },
      },
    ],
    finish: (step, counters, outputs) =>
      finishStep({
        program: 'classifier training',
        step,
        counters,
        policy: 'throw',
        updates: [{ counter: 'updates', outputs: outputs[0]! }],
        metrics: { learningRate: rateAt(step) },
      }),
  };
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

/** Rows of each step: every epoch in its own random order, whole batches only. */
function shuffledRows(count: number, batchSize: number, seed: number): (step: number) => Int32Array {
  const batchesPerEpoch = Math.floor(count / batchSize);
  let known: { epoch: number; order: Int32Array } | undefined;
  return (step) => {
    const epoch = Math.floor(step / batchesPerEpoch);
    if (known?.epoch !== epoch)
      known = { epoch, order: randomStream(seed, epoch, 'classifier/epoch').permutation(count) };
    const first = (step % batchesPerEpoch) * batchSize;
    return known.order.subarray(first, first + batchSize);
  };
}

function labelsOf(split: DatasetSplit, indices: Int32Array): Int32Array {
  return indices.map((index) => split.labels.data[index]!);
}
