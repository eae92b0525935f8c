/**
 * The multimodal transformer of Meissonic (Bai et al., arXiv 2410.08261) as in its public implementation: same parameter
 * names, layouts and arithmetic. Text states and image tokens pass through joint blocks, then through single-stream
 * blocks; the pooled text, a timestep and micro-conditions modulate every block.
 */
import {
  embedding,
  recomputedBlock,
  silu,
  weightsBelow,
  type MaskedDiffusionModel,
  type ModelInputs,
  type PassInputs,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { jointBlock, singleBlock, type Recorder, type Streams } from './blocks.js';
import type { BlockContext } from './attention.js';
import {
  resolveTransformer,
  widthOf,
  type MultimodalTransformerConfig,
  type ResolvedTransformerConfig,
} from './config.js';
import { dense, downsample, norm, pointwise, siluMlp, upsample } from './layers.js';
import { tokenEmbeddingRms } from './embedding-rms.js';
import { embeddingParameters, initializeTransformer, transformerParameters } from './parameters.js';
import { rotaryTables } from './rotary.js';
import { numMicroConditions, sinusoidWidth } from './sinusoids.js';
import { timestepConditioning } from './timestep.js';

/** A Meissonic transformer. */
export interface MultimodalTransformer extends MaskedDiffusionModel {
  readonly config: ResolvedTransformerConfig;
  /**
   * Intermediate tensors of a pass by the names of their modules in the state dict, for comparing implementations;
   * channels last, `logits` among them.
   */
  activations(weights: TensorTree, inputs: Omit<PassInputs, 'embeddingNoise'>): TensorTree;
}

/**
 * A Meissonic transformer. Condition: `textStates` float32 [batch, textLength, textWidth], `pooledText` float32 [batch,
 * D], `microConditions` float32 [batch, 5, 256] from `embedMicroConditions`. Time input: `timestep`. The mask token is no
 * legal prediction: V = K.
 *
 * @throws OptionError for a wrong size.
 */
export function multimodalTransformer(options: MultimodalTransformerConfig): MultimodalTransformer {
  const config = resolveTransformer(options);
  const { codebookSize, vocabularySize, grid, jointBlocks, singleBlocks, textLength, textWidth, timestepMode } = config;
  const width = widthOf(config);
  return {
    name: `meissonic-h${width}-d${jointBlocks}+${singleBlocks}`,
    tokenSpace: { codebookSize, numLogits: codebookSize, maskTokenId: vocabularySize - 1, grid },
    condition: {
      textStates: { dtype: 'float32', shape: [textLength, textWidth] },
      pooledText: { dtype: 'float32', shape: [width] },
      microConditions: { dtype: 'float32', shape: [numMicroConditions, sinusoidWidth] },
    },
    time: timestepConditioning(timestepMode),
    embeddingWidth: width,
    parameters: transformerParameters(config),
    embeddingParameters,
    embeddingRms: (weights) => tokenEmbeddingRms(weights, width),
    initialize: (random) => initializeTransformer(config, random),
    embed: (weights, tokens) =>
      embedTokens(
        weights,
        tokens,
        notedBy(() => {}),
      ),
    logits: (weights, inputs) => transformerLogits(config, weights, inputs, () => {}),
    config,
    activations(weights, { tokens, ...others }) {
      const recorded: TensorTree = {};
      const record: Recorder = (name, tensor) => void (recorded[name] = tensor);
      const inputs = { ...others, embeddings: embedTokens(weights, tokens, notedBy(record)) };
      const logits = transformerLogits(config, weights, inputs, record);
      return { ...recorded, logits };
    },
  };
}

function transformerLogits(
  config: ResolvedTransformerConfig,
  weights: TensorTree,
  inputs: ModelInputs,
  record: Recorder,
): Tensor3D {
  const [rows, columns] = config.grid;
  const grid = { rows, columns };
  const noted = notedBy(record);
  let image = inputs.embeddings;
  const text = embedText(weights, inputs, noted);
  const activated = silu(noted('time_text_embed', conditioningVector(weights, inputs, noted)));
  if (config.downsample) image = noted('down_block', downsample(weights, 'down_block.downsample', image, grid));
  image = noted('project_to_hidden_norm', norm(weights, 'project_to_hidden_norm', image));
  image = noted('project_to_hidden', dense(weights, 'project_to_hidden', image));

  const x = runBlocks(config, weights, { image, text, activated, record });
  image = tf.slice(x, [0, config.textLength, 0], [-1, -1, -1]);
  image = noted('project_from_hidden_norm', norm(weights, 'project_from_hidden_norm', image));
  image = noted('project_from_hidden', dense(weights, 'project_from_hidden', image));
  if (config.downsample) image = noted('up_block', upsample(weights, 'up_block.upsample', image, grid));
  image = noted('mlm_layer.conv1', pointwise(weights, 'mlm_layer.conv1', image));
  image = noted('mlm_layer.layer_norm', norm(weights, 'mlm_layer.layer_norm', image));
  return pointwise(weights, 'mlm_layer.conv2', image);
}

/** Joint blocks, then single-stream blocks on [text | image]: float32 [batch, text and image tokens, D]. */
function runBlocks(
  config: ResolvedTransformerConfig,
  weights: TensorTree,
  { image, text, activated, record }: Streams & { readonly activated: Tensor2D; readonly record: Recorder },
): Tensor3D {
  const { cosines, sines } = angleTensors(config);
  /** What each block is given beside its activations. */
  const shared = [activated, cosines, sines];
  const arguments_ = (name: string, own: TensorTree, [modulating, ...angles]: readonly tf.Tensor[]) => ({
    context: {
      weights: own,
      numHeads: config.heads,
      angles: { cosines: angles[0] as Tensor2D, sines: angles[1] as Tensor2D },
    },
    block: { name, activated: modulating as Tensor2D, record },
  });
  let streams: Streams = { image, text };
  for (let index = 0; index < config.jointBlocks; index++) {
    const name = `transformer_blocks.${index}`;
    const given = [streams.image, streams.text, ...shared];
    const [newImage, newText] = recomputedBlock<[Tensor3D, Tensor3D]>(
      weightsBelow(weights, name),
      given,
      (own, [ownImage, ownText, ...rest]) => {
        const { context, block } = arguments_(name, own, rest);
        const both = jointBlock(context, { image: ownImage as Tensor3D, text: ownText as Tensor3D }, block);
        return [both.image, both.text];
      },
    );
    streams = { image: newImage, text: newText };
  }
  let x = tf.concat([streams.text, streams.image], 1);
  for (let index = 0; index < config.singleBlocks; index++) {
    const name = `single_transformer_blocks.${index}`;
    [x] = recomputedBlock<[Tensor3D]>(weightsBelow(weights, name), [x, ...shared], (own, [both, ...rest]) => {
      const { context, block } = arguments_(name, own, rest);
      return [singleBlock(context, both as Tensor3D, block)];
    });
  }
  return x;
}

type Noted = <T extends tf.Tensor>(name: string, tensor: T) => T;

/** Records a tensor and returns it. */
function notedBy(record: Recorder): Noted {
  return (name, tensor) => {
    record(name, tensor);
    return tensor;
  };
}

/** Norm and 1 x 1 convolution of the table's rows: float32 [batch, n, D]. */
function embedTokens(weights: TensorTree, tokens: Tensor2D, noted: Noted): Tensor3D {
  const rows = embedding<Tensor3D>(weights['embed.embeddings.weight']!, tokens);
  const normalized = noted('embed.layer_norm', norm(weights, 'embed.layer_norm', rows));
  return noted('embed', pointwise(weights, 'embed.conv', normalized));
}

function embedText(weights: TensorTree, { condition }: ModelInputs, noted: Noted): Tensor3D {
  const states = condition['textStates'] as Tensor3D;
  const projected = noted('context_embedder', dense(weights, 'context_embedder', states));
  return noted('encoder_proj_layer_norm', norm(weights, 'encoder_proj_layer_norm', projected));
}

/** What modulates the blocks: timestep, pooled text and micro-conditions, float32 [batch, D]. */
function conditioningVector(weights: TensorTree, { condition, time }: ModelInputs, noted: Noted): Tensor2D {
  const pooled = condition['pooledText'] as Tensor2D;
  const micro = tf.reshape(condition['microConditions']!, [pooled.shape[0], numMicroConditions * sinusoidWidth]);
  const facts = noted('cond_embed', siluMlp(weights, 'cond_embed', tf.concat([pooled, micro as Tensor2D], 1)));
  return tf.add(
    siluMlp(weights, 'time_text_embed.timestep_embedder', time!['timestep'] as Tensor2D),
    siluMlp(weights, 'time_text_embed.text_embedder', facts),
  );
}

function angleTensors(config: ResolvedTransformerConfig): BlockContext['angles'] {
  const { cosines, sines } = rotaryTables(config);
  const tensor = ({ data, shape }: typeof cosines) => tf.tensor2d(data, shape as [number, number]);
  return { cosines: tensor(cosines), sines: tensor(sines) };
}
