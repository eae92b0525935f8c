/**
 * Laws: no id at or above codebookSize is drawn unless the reference behaviour is asked for; drawn ids follow the
 * filtered distribution; rows are independent; a batch can be split.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { randomStream, resolveSampling, sampleTokens, samplingLogits } from '../index.js';
import type { SamplingOptions } from '../model/sampler-options.js';

const space = { codebookSize: 5 };

beforeAll(() => tf.setBackend('cpu'));

function draw(logits: number[][], uniforms: number[], options: SamplingOptions = {}): number[] {
  return tf.tidy(() => {
    const values = tf.tensor3d([logits]) as Tensor3D;
    return Array.from(sampleTokens(values, tf.tensor2d([uniforms]) as Tensor2D, space, options).dataSync());
  });
}

describe('sampling', () => {
  it('never draws an id that the decoder does not know', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.constantFrom<SamplingOptions>({}, { topK: 2 }, { topP: 0.5, temperature: 3 }),
        (seed, options) => {
          const stream = randomStream(seed, 0, 'sampling');
          const rows = Array.from({ length: 4 }, () => [...stream.normal(5), 50, 60]);
          for (const id of draw(rows, [...stream.uniform(4)], options)) expect(id).toBeLessThan(5);
        },
      ),
      { numRuns: 50 },
    );
  });

  it('draws any id of the logits in reference runs', () => {
    expect(draw([[0, 0, 0, 0, 0, 50]], [0.5], { reference: true })).toEqual([5]);
  });

  it('draws by the first cumulative probability above the number', () => {
    const logits = [0.1, 0.2, 0.3, 0.25, 0.15].map(Math.log);
    expect(draw(new Array(6).fill(logits), [0, 0.09, 0.11, 0.59, 0.61, 0.999])).toEqual([0, 0, 1, 2, 3, 4]);
  });

  it('keeps the k largest, and the mass that crosses p', () => {
    const logits = [0.1, 0.2, 0.3, 0.25, 0.15].map(Math.log);
    const kept = (options: SamplingOptions) =>
      tf.tidy(() => {
        const filtered = samplingLogits(tf.tensor3d([[logits]]), space, options).dataSync();
        return Array.from(filtered).flatMap((value, id) => (value > -1e8 ? [id] : []));
      });
    expect(kept({ topK: 2 })).toEqual([2, 3]);
    // Sorted .3 .25 .2 .15 .1, cumulative .3 .55 .75: 0.5 is crossed by the second, 0.6 by the third.
    expect(kept({ topP: 0.5 })).toEqual([2, 3]);
    expect(kept({ topP: 0.6 })).toEqual([1, 2, 3]);
    expect(kept({ topP: 1 })).toEqual([0, 1, 2, 3, 4]);
    // Of the three kept by top-k, .4 .333 .267: 0.5 is crossed by the second.
    expect(kept({ topK: 3, topP: 0.5 })).toEqual([2, 3]);
  });

  it('follows the distribution, and rows are independent', () => {
    const n = 20_000;
    const probabilities = [0.1, 0.2, 0.3, 0.25, 0.15];
    const logits = probabilities.map(Math.log);
    const ids = draw(new Array(n).fill(logits), [...randomStream(5, 0, 'u').uniform(n)]);
    const counts = probabilities.map((_, id) => ids.filter((drawn) => drawn === id).length);
    const chiSquare = counts.reduce(
      (sum, count, id) => sum + (count - n * probabilities[id]!) ** 2 / (n * probabilities[id]!),
      0,
    );
    expect(chiSquare).toBeLessThan(18.5); // 4 degrees of freedom, 0.1 %
    // Equal neighbours: sum p^2 = 0.235, sd 0.003.
    const equal = ids.filter((id, i) => i > 0 && id === ids[i - 1]).length / (n - 1);
    expect(Math.abs(equal - 0.235)).toBeLessThan(0.015);
  });

  it('refuses wrong options', () => {
    expect(() => resolveSampling({ temperature: 0 })).toThrow('sampling.temperature');
    expect(() => resolveSampling({ topK: 1.5 })).toThrow('sampling.topK');
    expect(() => resolveSampling({ topP: 2 })).toThrow('sampling.topP');
  });
});
