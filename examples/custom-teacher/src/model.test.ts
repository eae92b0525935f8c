import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { forwardPass, OptionError, randomStream, WeightError, writeSafetensors, type WeightSource } from '@dimo/core';
import { beforeAll, describe, expect, it } from 'vitest';
import plugin, { markovConvolution, convolutionConfig, convolutionModel } from './index.js';

beforeAll(() => tf.setBackend('cpu'));

const model = convolutionModel({ hidden: 8, depth: 1 });
const weights = model.initialize(randomStream(1, 0, 'weights'));

/** Logits [batch, L, K] on the host. */
function logitsOf(
  tokens: number[][],
  chain: number[],
  given: { model: typeof model; weights: typeof weights } = { model, weights },
): number[][][] {
  const { weights } = given;
  return tf.tidy(() =>
    forwardPass(
      given.model,
      Object.fromEntries(Object.entries(weights).map(([name, t]) => [name, tf.tensor(t.data, [...t.shape])])),
      {
        tokens: tf.tensor2d(tokens, undefined, 'int32'),
        condition: { chain: tf.tensor1d(chain, 'int32') },
      },
    ).arraySync(),
  );
}

const sequence = [0, 1, 2, 3, 8, 8, 6, 7, 0, 8, 2, 3, 4, 5, 6, 7];

describe('the convolutional model', () => {
  it('has no logit for the mask token', () => {
    const logits = logitsOf([sequence], [0]);
    expect(logits[0]).toHaveLength(16);
    expect(logits[0]![0]).toHaveLength(8);
  });

  it('computes the rows of a batch independently', () => {
    const other = sequence.toReversed();
    const both = logitsOf([sequence, other], [0, 1]);
    // Only the order of summation inside the backend may differ.
    const difference = (a: number[][], b: number[][]) =>
      Math.max(...a.flatMap((row, i) => row.map((value, j) => Math.abs(value - b[i]![j]!))));
    expect(difference(both[0]!, logitsOf([sequence], [0])[0]!)).toBeLessThan(1e-5);
    expect(difference(both[1]!, logitsOf([other], [1])[0]!)).toBeLessThan(1e-5);
  });

  it('lets a position see 14 others to either side at the default depth, and the condition', () => {
    const deep = convolutionModel({ hidden: 8, depth: 6 });
    const given = { model: deep, weights: deep.initialize(randomStream(1, 0, 'deep')) };
    const firstRow = (changedPosition?: number) => {
      const tokens = [...sequence];
      if (changedPosition !== undefined) tokens[changedPosition] = 4;
      return logitsOf([tokens], [0], given)[0]![0];
    };
    // Dilations 1, 2, 4, 1, 2, 4 reach 14 positions.
    expect(firstRow(14)).not.toEqual(firstRow());
    expect(firstRow(15)).toEqual(firstRow());
    expect(logitsOf([sequence], [1])[0]).not.toEqual(logitsOf([sequence], [0])[0]);
  });
});

describe('the plugin', () => {
  const source = (bytes: Uint8Array): WeightSource => ({
    location: 'memory',
    list: async () => ['model.safetensors'],
    read: async () => bytes,
  });

  it('loads what it saves, strictly', async () => {
    const config = { hidden: 8, depth: 1 };
    const teacher = await markovConvolution.load(config, source(writeSafetensors(weights)));
    expect(Object.keys(teacher.weights).sort()).toEqual(Object.keys(model.parameters).sort());
    await expect(markovConvolution.load({ hidden: 8, depth: 2 }, source(writeSafetensors(weights)))).rejects.toThrow(
      WeightError,
    );
  });

  it('refuses unknown settings and unknown chains', () => {
    expect(() => convolutionConfig({ heads: 4 })).toThrow(OptionError);
    expect(() => convolutionConfig({ hidden: 1.5 })).toThrow(OptionError);
    expect(() => markovConvolution.define({}).conditions.parse(['climbing', 'sideways'])).toThrow(/sideways/);
  });

  it('offers a teacher, its data and its metrics', () => {
    expect(plugin.teachers?.map(({ name }) => name)).toEqual(['markov-convolution']);
    expect(plugin.tokenDatasets?.map(({ name }) => name)).toEqual(['markov-chains']);
    expect(plugin.metrics).toHaveLength(3);
  });
});
