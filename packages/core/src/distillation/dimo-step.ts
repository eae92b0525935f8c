/**
 * The gradients of one on-policy step of Di[M]O (arXiv 2503.15457, Algorithm 1), as pure functions of named tensors. The
 * losses are means over the samples or masked positions of the whole step, whose number the host knows: what the samples
 * of micro-steps or ranks contribute is added.
 *
 * All random numbers are inputs, and which positions are masked is decided on the host: see draws.ts.
 * Equation, code, official code and deviations side by side: docs/algorithm.md.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { NetworkRole, ResolvedDistillation } from './options.js';
import { forwardPass, type PassInputs } from '../model/forward-pass.js';
import { conditionalPair, guidedLogits, isGuided, type ConditionalPair } from '../model/guidance.js';
import { gradientThroughLogits, type LogitGradient, type WeightGradients } from '../ops/logit-gradient.js';
import type { MaskedDiffusionModel } from '../model/model.js';
import { maskedCrossEntropy } from '../ops/masked-cross-entropy.js';
import { softCrossEntropy } from '../ops/soft-cross-entropy.js';
import { guidedTeacherLogits, tokenDivergence } from '../ops/token-divergence.js';
import { replaceNonFinite } from '../training/update.js';
import { sampleTokens } from '../sampling/drawing-tokens.js';
import { subtree, type TensorTree } from '../tensors/tensors.js';

/** The three networks of a distillation; they share one token space. */
export interface DistillationNetworks {
  readonly teacher: MaskedDiffusionModel;
  readonly auxiliary: MaskedDiffusionModel;
  readonly generator: MaskedDiffusionModel;
}

/** Networks, settings, and which parameters are trained. */
export interface DistillationSetup {
  readonly networks: DistillationNetworks;
  readonly settings: ResolvedDistillation;
  /** Names of the trained parameters of the generator and of the auxiliary model. */
  readonly trained: { readonly generator: ReadonlySet<string>; readonly auxiliary: ReadonlySet<string> };
  /** Whether steps also hand out intermediate tensors, for comparing implementations. @default false */
  readonly trace?: boolean;
}

/**
 * Gradients of the generator, Algorithm 1 lines "sample x_init ... update theta". Inputs: those of `phaseInputs`.
 *
 * @param setup - networks and settings.
 * @param state - `teacher/`, `auxiliary/` and `generator/` weights.
 * @param inputs - initial tokens, embedding noise, condition, uniforms, mask.
 * @returns gradients of the trained parameters; outputs: `loss` (the surrogate's value), `divergence`, `forwardKl`, `totalVariation` (means over masked
 *   positions), `tokenEntropy` (mean over all positions, nats), `tokens` int32 [batch, L].
 */
export function generatorGradients(setup: DistillationSetup, state: TensorTree, inputs: TensorTree): WeightGradients {
  const { networks, settings } = setup;
  const { trained, frozen } = splitWeights(subtree('generator', state), setup.trained.generator);
  return gradientThroughLogits(
    trained,
    // The generator maps hybrid noise, random and masked tokens, to the logits of the whole image in one pass.
    (weights) => forwardPass(networks.generator, { ...frozen, ...weights }, generatorInputs(setup, inputs)),
    (logits): LogitGradient => {
      const generated = logits as Tensor3D;
      // x_0 ~ softmax(z_theta), and x_t from the forward process.
      const tokens = sampleTokens(generated, inputs['tokenDraws']!, networks.teacher.tokenSpace, settings.sampling);
      const intermediate = intermediateInputs(setup, inputs, tokens);
      // What the token distribution should be, and what the generator's currently is.
      const teacher = teacherLogits(setup, state, { inputs, intermediate });
      const auxiliary = guidedLogits(
        networks.auxiliary,
        subtree('auxiliary', state),
        {
          ...intermediate,
          ...timeAndDropoutOf(setup, inputs, { role: 'auxiliary', guided: isGuided(settings.auxiliaryGuidance) }),
        },
        auxiliaryGuidance(inputs, isGuided(settings.auxiliaryGuidance)),
      );
      const isMasked = tf.cast(inputs['isMasked']!, 'float32') as Tensor2D;
      const { value, forwardKl, totalVariation, ...divergence } = tokenDivergence(
        { ...teacher, auxiliary, weights: ratioWeighted(isMasked, inputs) },
        settings.divergenceAttributes,
      );
      const gradient =
        settings.onNonFinite === 'reference' ? replaceNonFinite(divergence.gradient) : divergence.gradient;
      // The surrogate 0.5 ||z - stop(z - g)||^2 has the value 0.5 ||g||^2 and the gradient g, both times the reduction.
      const scale = settings.lossWeight / reductionSize(settings, generated.shape);
      const loss = tf.mul(tf.sum(tf.mul(gradient, gradient)), 0.5 * scale);
      const maskedCount = inputs['maskedCount']!;
      const meanOverMasked = (values: Tensor2D) => tf.div(tf.sum(tf.mul(values, isMasked)), maskedCount);
      return {
        gradient: tf.mul(gradient, scale),
        outputs: {
          loss,
          divergence: tf.div(tf.sum(value), maskedCount),
          forwardKl: meanOverMasked(forwardKl),
          totalVariation: meanOverMasked(totalVariation),
          tokenEntropy: meanEntropy(generated, samplesPerStep(settings)),
          tokens,
          ...(setup.trace
            ? {
                generatorLogits: generated,
                teacherLogits: guidedTeacherLogits(teacher),
                auxiliaryLogits: auxiliary,
                divergenceGradient: gradient,
              }
            : {}),
        },
      };
    },
  );
}

/**
 * Gradients of the auxiliary model: masked-token prediction on fresh samples of the generator, Algorithm 1 lines "update
 * psi". Cross-entropy with label smoothing against the sampled tokens, mixed with a KL to the generator's own
 * distribution.
 *
 * @returns gradients of the trained parameters; outputs: `loss`, `hardLoss`, `softLoss`, `maskedNll`, means over masked positions, nats.
 */
export function auxiliaryGradients(setup: DistillationSetup, state: TensorTree, inputs: TensorTree): WeightGradients {
  const { networks, settings } = setup;
  const { softWeight, softTemperature } = settings;
  const generated = forwardPass(networks.generator, subtree('generator', state), generatorInputs(setup, inputs));
  const tokens = sampleTokens(generated, inputs['tokenDraws']!, networks.teacher.tokenSpace, settings.sampling);
  const intermediate = intermediateInputs(setup, inputs, tokens);
  const { trained, frozen } = splitWeights(subtree('auxiliary', state), setup.trained.auxiliary);
  return gradientThroughLogits(
    trained,
    (weights) =>
      guidedLogits(
        networks.auxiliary,
        { ...frozen, ...weights },
        {
          ...intermediate,
          ...timeAndDropoutOf(setup, inputs, {
            role: 'auxiliary',
            guided: isGuided(settings.auxiliaryTrainingGuidance),
          }),
        },
        auxiliaryGuidance(inputs, isGuided(settings.auxiliaryTrainingGuidance)),
      ),
    (logits): LogitGradient => {
      const predicted = logits as Tensor3D;
      const isMasked = tf.cast(inputs['isMasked']!, 'float32') as Tensor2D;
      const weights = tf.div(isMasked, inputs['maskedCount']!) as Tensor2D;
      const hard = maskedCrossEntropy({ logits: predicted, targets: tokens, weights }, settings.labelSmoothing);
      const hardLoss = tf.sum(hard.loss);
      const common = { maskedNll: tf.sum(hard.negativeLogLikelihood), hardLoss };
      const traced: TensorTree = setup.trace ? { generatorLogits: generated, auxiliaryLogits: predicted, tokens } : {};
      if (softWeight === 0) return { gradient: hard.gradient, outputs: { loss: hardLoss, ...common, ...traced } };
      const soft = softCrossEntropy({ logits: predicted, target: generated, weights }, softTemperature);
      const softLoss = tf.sum(soft.loss);
      const mix = (a: Tensor, b: Tensor) => tf.add(tf.mul(a, softWeight), tf.mul(b, 1 - softWeight));
      return {
        gradient: mix(soft.gradient, hard.gradient),
        outputs: { loss: mix(softLoss, hardLoss), ...common, softLoss, ...traced },
      };
    },
  );
}

/** Trained and fixed weights of a network. */
export function splitWeights(
  weights: TensorTree,
  isTrained: ReadonlySet<string>,
): { trained: TensorTree; frozen: TensorTree } {
  const entries = Object.entries(weights);
  return {
    trained: Object.fromEntries(entries.filter(([name]) => isTrained.has(name))),
    frozen: Object.fromEntries(entries.filter(([name]) => !isTrained.has(name))),
  };
}

function generatorInputs(setup: DistillationSetup, inputs: TensorTree): PassInputs {
  const noise = inputs['embeddingNoise'];
  return {
    tokens: inputs['initialTokens'] as Tensor2D,
    condition: subtree('condition', inputs),
    ...(noise ? { embeddingNoise: { noise: noise as Tensor3D, scale: inputs['embeddingNoiseScale'] as Scalar } } : {}),
    ...timeAndDropoutOf(setup, inputs, { role: 'generator', guided: false }),
  };
}

/** The inputs that each network has of its own. */
function timeAndDropoutOf(
  setup: DistillationSetup,
  inputs: TensorTree,
  { role, guided }: { readonly role: NetworkRole; readonly guided: boolean },
): Pick<PassInputs, 'time' | 'dropout'> {
  const rate = setup.settings.dropout[role];
  const time = subtree(`time/${role}`, inputs);
  if (rate === 0) return { time };
  const uniforms = subtree(`dropout/${role}`, inputs);
  if (guided) {
    // Both passes are one batch, conditional samples first.
    const unconditional = subtree(`unconditionalDropout/${role}`, inputs);
    for (const [site, values] of Object.entries(uniforms))
      uniforms[site] = tf.concat([values, unconditional[site]!], 0);
  }
  return { time, dropout: { rate, uniforms } };
}

/** x_t: the sampled tokens with the mask id where the forward process masks. */
function intermediateInputs(setup: DistillationSetup, inputs: TensorTree, tokens: Tensor2D): PassInputs {
  const { maskTokenId } = setup.networks.teacher.tokenSpace;
  const isMasked = inputs['isMasked'] as Tensor2D;
  // Arithmetic, because not every engine selects int32.
  const isKept = tf.sub(tf.scalar(1, 'int32'), isMasked);
  const masked = tf.add(tf.mul(tokens, isKept), tf.mul(isMasked, tf.scalar(maskTokenId, 'int32')));
  const dropped = subtree('auxiliaryCondition', inputs);
  return {
    tokens: masked as Tensor2D,
    condition: Object.keys(dropped).length > 0 ? dropped : subtree('condition', inputs),
  };
}

function teacherLogits(
  setup: DistillationSetup,
  state: TensorTree,
  { inputs, intermediate }: { inputs: TensorTree; intermediate: PassInputs },
): { conditional: Tensor3D } | (ConditionalPair & { guidanceScale: Tensor1D }) {
  const model = setup.networks.teacher;
  const weights = subtree('teacher', state);
  const guided = isGuided(setup.settings.teacherGuidance);
  const modelInputs = { ...intermediate, ...timeAndDropoutOf(setup, inputs, { role: 'teacher', guided }) };
  if (!guided) return { conditional: forwardPass(model, weights, modelInputs) };
  const pair = conditionalPair(model, weights, modelInputs, subtree('negativeCondition', inputs));
  return { ...pair, guidanceScale: inputs['teacherGuidanceScale'] as Tensor1D };
}

function auxiliaryGuidance(inputs: TensorTree, guided: boolean) {
  if (!guided) return undefined;
  return { nullCondition: subtree('nullCondition', inputs), scale: inputs['auxiliaryGuidanceScale'] as Tensor1D };
}

/** The mask times w(t), if the loss has a weight over the mask ratio. */
function ratioWeighted(isMasked: Tensor2D, inputs: TensorTree): Tensor2D {
  const weight = inputs['ratioWeight'];
  return weight ? (tf.mul(isMasked, tf.expandDims(weight, 1)) as Tensor2D) : isMasked;
}

/** Samples of a step over all micro-steps and ranks. */
function samplesPerStep({ batchSize, accumulation }: ResolvedDistillation): number {
  return batchSize * accumulation;
}

/** What the sum over all elements is divided by: the samples, or the number of elements, unmasked ones included. */
function reductionSize(settings: ResolvedDistillation, shape: readonly number[]): number {
  const [, length, numLogits] = shape as [number, number, number];
  return samplesPerStep(settings) * (settings.lossReduction === 'sum' ? 1 : length * numLogits);
}

/** Entropy of the generator's token distributions, a mean over all positions of `numSamples` samples, nats. */
function meanEntropy(logits: Tensor3D, numSamples: number): Tensor {
  const probabilities = tf.softmax(logits, -1);
  // At p = 0 the logarithm is finite and the product 0.
  const surprise = tf.log(tf.add(probabilities, 1e-30));
  return tf.mul(tf.sum(tf.mul(probabilities, surprise)), -1 / (numSamples * logits.shape[1]));
}
