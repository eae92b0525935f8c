/**
 * Training of a tokenizer: reconstruction through the nearest codes with a straight-through gradient, commitment of the
 * encoder to its codes, and a codebook that follows the encoder as a moving average.
 */
import {
  checkPixels,
  epochRows,
  float32,
  gradientThroughLogits,
  learningRateFactor,
  nearestCodes,
  OptionError,
  phaseProgram,
  randomStream,
  readImages,
  scalar,
  subtree,
  withPrefix,
  type DatasetSplit,
  type HostTree,
  type PhaseGradients,
  type PhaseInputs,
  type TensorTree,
  type TrainingProgram,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { updateCodebook } from './codebook-average.js';
import { codebookName, type Tokenizer } from './tokenizer.js';
import {
  resolveTokenizerTraining,
  type ResolvedTokenizerTraining,
  type TokenizerTrainingOptions,
} from './training-options.js';

/** The images of a dataset split. */
export type TrainingImages = Pick<DatasetSplit, 'count' | 'pixels'>;

/** The weights in the state of tokenizer training. */
export function tokenizerTrainingResult<T>(state: Record<string, T>): Record<string, T> {
  return subtree('tokenizer', state);
}

/**
 * Program that trains a tokenizer. State: `tokenizer/<p>` the weights, `codebook/counts` and `codebook/sums`,
 * `optimizer/m/<p>` and `optimizer/v/<p>`. Metrics: `loss`, `reconstruction`, `commitment`, `squaredError` (of images in
 * [0, 1]), `perplexity` (codes in use in the batch), `numReseeded`, `gradientNorm`, `learningRate`.
 *
 * @param tokenizer - what to train.
 * @param images - uint8 pixels, row-major [count, H, W, C], in memory or read as they are needed.
 * @param options - settings.
 * @param initialWeights - to continue from. @default freshly initialized
 * @throws OptionError for a wrong setting; ShapeError if the images do not fit the tokenizer.
 */
export function tokenizerTrainingProgram(
  tokenizer: Tokenizer,
  images: TrainingImages,
  options: TokenizerTrainingOptions = {},
  initialWeights?: HostTree,
): TrainingProgram<PhaseInputs> {
  const settings = resolveTokenizerTraining(options);
  const { batchSize, numSteps, seed } = settings;
  const { codebookSize, codeWidth, grid } = tokenizer;
  checkImages(tokenizer, images, batchSize);
  const order = epochRows(images.count, seed, 'tokenizer/epoch');
  const deadCount = (settings.deadBelow * batchSize * grid[0] * grid[1]) / codebookSize;
  return phaseProgram({
    name: `${tokenizer.name}-tokenizer`,
    numSteps,
    batchSize,
    onNonFinite: settings.onNonFinite,
    initialWeights: () => ({
      ...withPrefix('tokenizer', initialWeights ?? tokenizer.initialize(randomStream(seed, 0, 'tokenizer/weights'))),
      // With no history every code but those of the first batch's largest clusters is dead, and gets a vector of it.
      'codebook/counts': float32([codebookSize]),
      'codebook/sums': float32([codebookSize, codeWidth]),
    }),
    phases: [
      {
        trains: { prefix: 'tokenizer', parameters: trainedParameters(tokenizer) },
        draw: async ({ step, first, count }) => ({
          images: await readImages(tokenizer.imageShape, images, order(first, count)),
          reseedUniforms: float32([codebookSize], randomStream(seed, step, 'tokenizer/reseed').uniform(codebookSize)),
          reseedBelow: scalar(step < settings.reseedFraction * numSteps ? deadCount : 0),
        }),
        needsWholeBatch: true,
        gradients: (state, inputs) => tokenizerGradients(tokenizer, settings, state, inputs),
        optimizer: settings.optimizer,
        learningRate: (step) =>
          settings.learningRate * learningRateFactor(settings.learningRateSchedule, step, numSteps),
      },
    ],
  });
}

/** All parameters but the codebook, which follows its moving average. */
function trainedParameters<T>(tokenizer: { readonly parameters: Record<string, T> }): Record<string, T> {
  return Object.fromEntries(Object.entries(tokenizer.parameters).filter(([name]) => name !== codebookName));
}

/** Gradients of encoder and decoder, and the codebook that follows. */
function tokenizerGradients(
  tokenizer: Tokenizer,
  settings: ResolvedTokenizerTraining,
  state: TensorTree,
  inputs: TensorTree,
): PhaseGradients {
  const { codeWidth } = tokenizer;
  const { commitment } = settings;
  const all = subtree('tokenizer', state);
  const { [codebookName]: codebook, ...weights } = all as Record<string, Tensor> & { [codebookName]: Tensor2D };
  const images = inputs['images'] as Tensor4D;

  // The encoder runs twice, here and below with its gradient recorded; traced, the two become one.
  const vectors = tokenizer.encodeVectors(weights, images);
  const rows = tf.reshape(vectors, [-1, codeWidth]) as Tensor2D;
  const codes = nearestCodes(rows, codebook);
  const quantized: Tensor4D = tf.reshape(tf.gather(codebook, codes), vectors.shape);

  const decoder = gradientThroughLogits(
    { ...pick(weights, 'decoder'), quantized },
    (given) => tokenizer.decodeVectors({ ...weights, ...given }, given['quantized'] as Tensor4D),
    (raw) => {
      const { loss, gradient, squaredError } = tokenizer.reconstruction(raw as Tensor4D, images);
      return { gradient, outputs: { reconstruction: loss, squaredError } };
    },
  );
  const { quantized: throughCodes, ...decoderGradients } = decoder.gradients;
  // Straight-through: the gradient of the codes is that of the vectors; then the pull of the commitment.
  const distance = tf.sub(vectors, quantized);
  const commitmentLoss = tf.mul(tf.mean(tf.mul(distance, distance)), commitment);
  const vectorGradient = tf.add(throughCodes!, tf.mul(distance, (2 * commitment) / vectors.size));
  const encoder = gradientThroughLogits(
    pick(weights, 'encoder'),
    (given) => tokenizer.encodeVectors({ ...weights, ...given }, images),
    () => ({ gradient: vectorGradient, outputs: {} }),
  );
  const { reconstruction, squaredError } = decoder.outputs as Record<'reconstruction' | 'squaredError', Tensor>;
  const loss = tf.add(reconstruction, commitmentLoss);

  const counts = state['codebook/counts'] as Tensor1D;
  const sums = state['codebook/sums'] as Tensor2D;
  const next = updateCodebook(
    { codebook, counts, sums },
    {
      vectors: rows,
      codes,
      reseedUniforms: inputs['reseedUniforms'] as Tensor1D,
      reseedBelow: inputs['reseedBelow'] as Scalar,
    },
    settings.codebookDecay,
  );
  return {
    gradients: { ...encoder.gradients, ...decoderGradients },
    outputs: {
      loss,
      reconstruction,
      commitment: commitmentLoss,
      squaredError,
      perplexity: next.perplexity,
      numReseeded: next.numReseeded,
    },
    state: {
      [`tokenizer/${codebookName}`]: next.codebook,
      'codebook/counts': next.counts,
      'codebook/sums': next.sums,
    },
  };
}

/** Weights on one side of the codebook. */
function pick(weights: TensorTree, side: 'encoder' | 'decoder'): TensorTree {
  const isEncoder = (name: string) => name.startsWith('encoder.') || name.startsWith('quant_conv.');
  return Object.fromEntries(Object.entries(weights).filter(([name]) => isEncoder(name) === (side === 'encoder')));
}

function checkImages({ imageShape }: Tokenizer, images: TrainingImages, batchSize: number): void {
  checkPixels(imageShape, images);
  if (images.count < batchSize)
    throw new OptionError(`tokenizer training: batchSize must be at most the ${images.count} images, got ${batchSize}`);
}
