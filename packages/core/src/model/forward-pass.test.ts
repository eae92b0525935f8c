import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor3D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { embedding, forwardPass, guidedLogits, type MaskedDiffusionModel } from '../index.js';
import { tinyModel } from '../testing/tiny-model.js';

beforeAll(() => tf.setBackend('cpu'));

/** Its logits are the embeddings: row t of the table for token t. */
const transparent: MaskedDiffusionModel = {
  ...tinyModel({ codebookSize: 2, grid: [1, 2], width: 2 }),
  embed: (weights, tokens) => embedding(weights['table']!, tokens),
  logits: (_, { embeddings }) => embeddings,
};
const weights = { table: tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]) };
const tokens = tf.tensor2d([0, 2], [1, 2], 'int32');
const condition = { label: tf.tensor1d([0], 'int32') };
const embeddingNoise = { noise: tf.tensor3d([10, 20, 30, 40], [1, 2, 2]), scale: tf.scalar(0.6) };
/** 0.6 noise + 0.8 embedding. */
const perturbed = [6 + 0.8, 12 + 1.6, 18 + 4, 24 + 4.8];

const numbers = (tensor: tf.Tensor) => Array.from(tensor.dataSync(), (value) => Math.round(value * 1e5) / 1e5);

describe('forwardPass', () => {
  it('gives the logits of the embeddings', () => {
    expect(numbers(forwardPass(transparent, weights, { tokens, condition }))).toEqual([1, 2, 5, 6]);
  });

  it('perturbs the embeddings by scale * noise + sqrt(1 - scale^2) * embedding', () => {
    expect(numbers(forwardPass(transparent, weights, { tokens, condition, embeddingNoise }))).toEqual(perturbed);
  });

  it('shows a model neither tokens nor noise, but the rest', () => {
    let seen: object = {};
    const logits = (_: unknown, inputs: { readonly embeddings: Tensor3D }) => {
      seen = inputs;
      return inputs.embeddings;
    };
    const rest = { condition, time: { ratio: tf.scalar(1) }, dropout: { rate: 0.5, uniforms: {} } };
    forwardPass({ ...transparent, logits }, weights, { tokens, embeddingNoise, ...rest });
    const { embeddings: _, ...others } = seen as { embeddings: Tensor3D };
    expect(others).toEqual(rest);
  });

  it('refuses a model of contract 1', () => {
    const { embed: _, ...old } = transparent;
    expect(() => forwardPass(old as MaskedDiffusionModel, weights, { tokens, condition })).toThrow(
      /model "tiny" has no embed\(weights, tokens\)/,
    );
  });

  it('perturbs both passes of a guided one alike', () => {
    const guidance = { nullCondition: { label: tf.tensor1d([3], 'int32') }, scale: tf.tensor1d([2]) };
    const guided = guidedLogits(transparent, weights, { tokens, condition, embeddingNoise }, guidance);
    // Both are the perturbed embeddings, and so is p + 2 (p - p).
    expect(numbers(guided)).toEqual(perturbed);
  });
});
