import { forwardPass, randomStream, sizeOf, type HostTree, type TensorTree } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { maskTransformer } from './mask-transformer.js';

beforeAll(() => tf.setBackend('cpu'));

const tiny = { hidden: 8, depth: 2, heads: 2, mlp: 12, codebookSize: 5, numClasses: 3, grid: 2 };
const model = maskTransformer(tiny);
const tensors = (tree: HostTree): TensorTree =>
  Object.fromEntries(Object.entries(tree).map(([name, t]) => [name, tf.tensor(t.data, [...t.shape], t.dtype)]));
const weights = () => tensors(model.initialize(randomStream(1, 0, 'weights')));
const tokens = tf.tensor2d([0, 5, 2, 5, 1, 1, 5, 4], [2, 4], 'int32');
const label = tf.tensor1d([0, 3], 'int32');

describe('maskTransformer', () => {
  it('has the published number of parameters at full size', () => {
    const full = maskTransformer({
      hidden: 768,
      depth: 24,
      heads: 16,
      mlp: 3072,
      codebookSize: 1024,
      numClasses: 1000,
      grid: 16,
    });
    const sizes = Object.values(full.parameters).map(({ shape }) => sizeOf(shape));
    expect(sizes.length).toBe(305);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(174_160_874);
    expect(full.tokenSpace).toEqual({ codebookSize: 1024, numLogits: 1025, maskTokenId: 1024, grid: [16, 16] });
  });

  it('names its parts as the original', () => {
    expect(model.name).toBe('maskgit-h8-d2');
    expect(model.parameters['tok_emb.weight']!.shape).toEqual([10, 8]); // 5 codes, mask, 3 classes, no class
    expect(model.parameters['bias']!.shape).toEqual([5, 10]);
    expect(model.embeddingParameters.every((name) => name in model.parameters)).toBe(true);
  });

  it('initializes reproducibly, with the asked deviation of the embeddings', () => {
    const wide = maskTransformer({ ...tiny, hidden: 64, embeddingDeviation: 0.1 });
    const tree = wide.initialize(randomStream(1, 0, 'weights'));
    expect(wide.initialize(randomStream(1, 0, 'weights'))).toEqual(tree);
    const values = tree['tok_emb.weight']!.data as Float32Array; // 640 numbers: relative error of the rms 3 %
    const rms = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(rms).toBeGreaterThan(0.085);
    expect(rms).toBeLessThan(0.115);
    expect(tree['bias']!.data.every((x) => x === 0)).toBe(true);
    expect(tree['last_layer.4.weight']!.data.every((x) => x === 1)).toBe(true);
    const bound = 1 / Math.sqrt(12); // fan-in of the MLP's second layer
    const inner = tree['transformer.layers.0.1.fn.net.3.weight']!.data as Float32Array;
    expect(Math.max(...inner)).toBeLessThanOrEqual(bound);
    expect(Math.max(...inner)).toBeGreaterThan(0.9 * bound);
  });

  it('treats samples of a batch independently and depends on the class', () => {
    const w = weights();
    const both = forwardPass(model, w, { tokens, condition: { label } }).arraySync();
    const second = forwardPass(model, w, {
      tokens: tf.slice(tokens, [1, 0], [1, 4]),
      condition: { label: tf.slice(label, [1], [1]) },
    });
    second.arraySync()[0]!.forEach((row, i) => row.forEach((x, v) => expect(x).toBeCloseTo(both[1]![i]![v]!, 5)));
    const other = forwardPass(model, w, { tokens, condition: { label: tf.tensor1d([1, 3], 'int32') } }).arraySync();
    expect(Math.abs(other[0]![0]![0]! - both[0]![0]![0]!)).toBeGreaterThan(1e-3);
  });

  it('has a gradient for every parameter', () => {
    const w = weights();
    const names = Object.keys(w);
    // A sum of squares: a plain sum has a zero gradient through the last normalization.
    const { grads } = tf.valueAndGrads((...values: tf.Tensor[]) => {
      const tree = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
      return tf.sum(tf.square(forwardPass(model, tree, { tokens, condition: { label } }))) as tf.Scalar;
    })(names.map((name) => w[name]!));
    const flat = names.filter((_, i) => !grads[i]!.dataSync().some((x) => Math.abs(x) > 1e-6));
    expect(flat).toEqual([]);
  });

  it('refuses sizes that do not fit', () => {
    expect(() => maskTransformer({ ...tiny, heads: 3 })).toThrow(/multiple of transformer.heads/);
    expect(() => maskTransformer({ ...tiny, depth: 0 })).toThrow(/transformer.depth/);
    expect(() => maskTransformer({ ...tiny, grid: [2, 2.5] })).toThrow(/grid\[1\]/);
    expect(() => maskTransformer({ ...tiny, width: 3 } as typeof tiny)).toThrow(/no option "width"/);
  });
});

describe('dropout', () => {
  const sites = model.dropoutSites!;
  const uniforms = (value: (name: string, size: number) => Float32Array): TensorTree =>
    Object.fromEntries(
      Object.entries(sites).map(([name, { shape }]) => {
        const full = [2, ...shape];
        return [name, tf.tensor(value(name, sizeOf(full)), full)];
      }),
    );

  it('changes nothing at rate 0', () => {
    const w = weights();
    const plain = forwardPass(model, w, { tokens, condition: { label } }).dataSync();
    const all = uniforms((_, size) => new Float32Array(size));
    const dropped = forwardPass(model, w, {
      tokens,
      condition: { label },
      dropout: { rate: 0, uniforms: all },
    }).dataSync();
    plain.forEach((x, i) => expect(dropped[i]).toBeCloseTo(x, 5));
  });

  it('acts at every site', () => {
    const w = weights();
    const plain = forwardPass(model, w, { tokens, condition: { label } }).dataSync();
    for (const site of Object.keys(sites)) {
      // Elsewhere every uniform is 0.9 and nothing is dropped; 1 / (1 - rate) is compensated by the rate 1e-6.
      const one = uniforms((name, size) =>
        name === site
          ? Float32Array.from({ length: size }, (_, i) => (i % 2 ? 0.9 : 0))
          : new Float32Array(size).fill(0.9),
      );
      const result = forwardPass(model, w, {
        tokens,
        condition: { label },
        dropout: { rate: 1e-6, uniforms: one },
      }).dataSync();
      const change = Math.max(...plain.map((x, i) => Math.abs(x - result[i]!)));
      expect({ site, changed: change > 1e-3 }).toEqual({ site, changed: true });
    }
  });
});
