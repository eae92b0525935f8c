/** Joint text-image blocks and single-stream blocks (as in Esser et al., arXiv 2403.03206, and FLUX). */
import { gelu } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { imageNames, joinProjections, project, rotaryAttention, textNames, type BlockContext } from './attention.js';
import { dense, modulatedNorm, modulation } from './layers.js';

/** Receives intermediate tensors by name. */
export type Recorder = (name: string, tensor: tf.Tensor) => void;

/** Image and text tokens, float32 [batch, tokens, D] each. */
export interface Streams {
  readonly image: Tensor3D;
  readonly text: Tensor3D;
}

/** Arguments that change from block to block. */
export interface BlockArguments {
  /** Name of the block in the state dict. */
  readonly name: string;
  /** SiLU of the conditioning vector, float32 [batch, D]. */
  readonly activated: Tensor2D;
  readonly record: Recorder;
}

/**
 * Joint block: each stream has weights of its own; they meet in the attention, text first.
 */
export function jointBlock(context: BlockContext, { image, text }: Streams, block: BlockArguments): Streams {
  const { weights } = context;
  const { name, activated, record } = block;
  const attn = `${name}.attn`;
  const imageParts = sixParts(modulation(weights, `${name}.norm1`, activated, 6));
  const textParts = sixParts(modulation(weights, `${name}.norm1_context`, activated, 6));

  const normalizedImage = modulatedNorm(image, imageParts.attentionShift, imageParts.attentionScale);
  const normalizedText = modulatedNorm(text, textParts.attentionShift, textParts.attentionScale);
  const mixed = rotaryAttention(
    context,
    joinProjections(
      project(context, attn, normalizedText, textNames),
      project(context, attn, normalizedImage, imageNames),
    ),
  );
  const [mixedText, mixedImage] = tf.split(mixed, [text.shape[1], image.shape[1]], 1) as [Tensor3D, Tensor3D];
  const fromImage = dense(weights, `${attn}.to_out.0`, mixedImage);
  const fromText = dense(weights, `${attn}.to_add_out`, mixedText);
  record(`${name}.norm1`, normalizedImage);
  record(`${attn}.to_out.0`, fromImage);
  record(`${attn}.to_add_out`, fromText);

  const streams = {
    image: feedForward(context, `${name}.ff`, gated(image, imageParts.attentionGate, fromImage), imageParts),
    text: feedForward(context, `${name}.ff_context`, gated(text, textParts.attentionGate, fromText), textParts),
  };
  record(`${name}.image`, streams.image);
  record(`${name}.text`, streams.text);
  return streams;
}

/** Single-stream block: attention and MLP side by side on [text | image]. */
export function singleBlock(context: BlockContext, x: Tensor3D, { name, activated, record }: BlockArguments): Tensor3D {
  const { weights } = context;
  const [shift, scale, gate] = modulation(weights, `${name}.norm`, activated, 3) as [Tensor3D, Tensor3D, Tensor3D];
  const normalized = modulatedNorm(x, shift, scale);
  const mixed = rotaryAttention(context, project(context, `${name}.attn`, normalized, imageNames));
  const inner = gelu(dense(weights, `${name}.proj_mlp`, normalized), { approximate: 'tanh' });
  const result = gated(x, gate, dense(weights, `${name}.proj_out`, tf.concat([mixed, inner], 2)));
  record(`${name}.norm`, normalized);
  record(`${name}.attn`, mixed);
  record(name, result);
  return result;
}

interface ModulationParts {
  readonly attentionShift: Tensor3D;
  readonly attentionScale: Tensor3D;
  readonly attentionGate: Tensor3D;
  readonly mlpShift: Tensor3D;
  readonly mlpScale: Tensor3D;
  readonly mlpGate: Tensor3D;
}

function sixParts(parts: readonly Tensor3D[]): ModulationParts {
  return {
    attentionShift: parts[0]!,
    attentionScale: parts[1]!,
    attentionGate: parts[2]!,
    mlpShift: parts[3]!,
    mlpScale: parts[4]!,
    mlpGate: parts[5]!,
  };
}

function gated(x: Tensor3D, gate: Tensor3D, change: Tensor3D): Tensor3D {
  return tf.add(x, tf.mul(gate, change));
}

function feedForward({ weights }: BlockContext, name: string, x: Tensor3D, parts: ModulationParts): Tensor3D {
  const normalized = modulatedNorm(x, parts.mlpShift, parts.mlpScale);
  const inner = gelu(dense(weights, `${name}.net.0.proj`, normalized), { approximate: 'tanh' });
  return gated(x, parts.mlpGate, dense(weights, `${name}.net.2`, inner));
}
