/** A one-step generator as one `.onnx` file: random numbers in, tokens and images out. */
import {
  float32,
  oneStepFunction,
  OptionError,
  subtree,
  timeInputs,
  withPrefix,
  type GeneratorTokenInit,
  type HostTree,
  type LoadedGenerator,
  type PureFunction,
  type SamplingOptions,
  type SpecTree,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { exportForward, type ExportedModel, type ExportOptions } from './export.js';

/** Options of `exportGenerator`. */
export interface GeneratorExportOptions extends Omit<ExportOptions, 'fn' | 'signature' | 'weights'> {
  /** What its pass begins with; part of the model, but for the numbers that are drawn. */
  readonly tokenInit: GeneratorTokenInit;
  /** How tokens are drawn from the logits; part of the model. */
  readonly sampling?: SamplingOptions;
}

/** An exported generator. */
export interface ExportedGenerator extends ExportedModel {
  /**
   * Inputs for a batch of one, in order: those of the condition by their own names; `initialTokens` int32 [batch, L], codes
   * with the mask id where masked; `tokenDraws` as `tokenDrawSpec` says; with embedding noise `embeddingNoise` float32
   * [batch, L, width], standard normal. A model that sees the mask ratio, where that is drawn from a range, has its
   * `time/<name>` too.
   */
  readonly inputs: SpecTree;
  /** Outputs: `tokens` int32 [batch, L]; where there is a decoder, `images` float32 [batch, H, W, C] in [0, 1]. */
  readonly outputs: readonly string[];
}

/**
 * Exports a generator, with its decoder if it has one.
 *
 * @throws OptionError for a wrong token initialization or sampling option, or if names clash.
 * @throws DimoError with code `trace` if the model or the decoder cannot be traced, or not for every batch size.
 */
export function exportGenerator(
  { definition, weights, decoderWeights }: Pick<LoadedGenerator, 'definition' | 'weights' | 'decoderWeights'>,
  { tokenInit, sampling, ...options }: GeneratorExportOptions,
): ExportedGenerator {
  const { model, decoder } = definition;
  if (decoder && !decoderWeights) throw new OptionError('export: the weights of the decoder are missing');
  const oneStep = oneStepFunction(model, { tokenInit, ...(sampling ? { sampling } : {}) });
  const known = fixedInputs(model, tokenInit);
  const inputsOf = (batchSize: number): SpecTree =>
    Object.fromEntries(
      Object.entries(oneStep.inputs(batchSize))
        .filter(([name]) => !Object.hasOwn(known, name))
        .map(([name, spec]) => [name.replace(/^condition\//, ''), spec]),
    );
  const conditions = new Set(Object.keys(model.condition));
  const fn: PureFunction = (state, given) => {
    const batchSize = given['initialTokens']!.shape[0]!;
    const inputs: TensorTree = {};
    for (const [name, tensor] of Object.entries(given))
      inputs[conditions.has(name) ? `condition/${name}` : name] = tensor;
    for (const [name, { data, shape, dtype }] of Object.entries(known)) {
      const row = tf.tensor(data as Float32Array, [...shape], dtype);
      inputs[name] = shape.length === 0 ? row : tf.broadcastTo(row, [batchSize, ...shape.slice(1)]);
    }
    const { outputs } = oneStep.fn(subtree('generator', state), inputs);
    const tokens = outputs['tokens'] as Tensor2D;
    return {
      outputs: decoder ? { tokens, images: decoder.decode(subtree('decoder', state), tokens) } : { tokens },
    };
  };
  const state = {
    ...withPrefix('generator', model.parameters),
    ...(decoder ? withPrefix('decoder', decoder.parameters) : {}),
  };
  const exported = exportForward({
    ...options,
    fn,
    signature: (batchSize) => ({ state, inputs: inputsOf(batchSize) }),
    weights: { ...withPrefix('generator', weights), ...(decoder ? withPrefix('decoder', decoderWeights!) : {}) },
  });
  return { ...exported, inputs: inputsOf(1), outputs: decoder ? ['tokens', 'images'] : ['tokens'] };
}

/** Inputs that are the same for every sample, as rows of one; scalars as they are. */
function fixedInputs(
  model: LoadedGenerator['definition']['model'],
  { maskRatio, embeddingNoise }: GeneratorTokenInit,
): HostTree {
  const ratio = typeof maskRatio === 'number' ? maskRatio : maskRatio[0] === maskRatio[1] ? maskRatio[0] : undefined;
  return {
    ...(embeddingNoise > 0 ? { embeddingNoiseScale: float32([], [embeddingNoise]) } : {}),
    ...(ratio === undefined ? {} : timeInputs(model, { maskRatio: float32([1], [ratio]) })),
  };
}
