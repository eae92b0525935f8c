/**
 * What only several steps of classifier training show: the gradient of the mean cross-entropy by autodiff, Adam's bias
 * corrections from update to update, the whole one-cycle schedule, an order of its own for every epoch, and the dropout
 * of every step.
 */
import { eagerEngine, int32, randomStream, runTraining, subtree, type Dataset, type HostTree } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { classifierTrainingProgram, classify, oneCycle } from './index.js';

beforeAll(() => tf.setBackend('cpu'));

const count = 7;
const split = {
  count,
  pixels: Uint8Array.from(randomStream(4, 0, 'pixels').integers(count * 64, 256)),
  labels: int32([count], [0, 1, 2, 0, 1, 2, 1]),
};
const dataset: Dataset = {
  name: 'tiny',
  imageShape: [8, 8, 1],
  classNames: ['a', 'b', 'c'],
  train: split,
  test: split,
};
const seed = 3;

function tensors(tree: HostTree): Record<string, tf.Tensor> {
  return Object.fromEntries(
    Object.entries(tree).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data.slice(), [...shape], dtype)]),
  );
}

describe('classifier training', () => {
  it('makes Adam updates of the mean cross-entropy along the one-cycle schedule', async () => {
    const batchSize = 2;
    const program = classifierTrainingProgram(dataset, { epochs: 1.2, batchSize, learningRate: 0.01, seed });
    // Three batches of 2 an epoch, a fifth of an epoch is one more.
    expect(program.numSteps).toBe(4);
    let before = program.initialState();
    await runTraining(program, {
      engine: eagerEngine('cpu'),
      async onStep({ step: done, metrics, counters, snapshot }) {
        const step = done - 1;
        const { state } = await snapshot();
        const draws = (await program.draw(step))['train']![0]!;
        const rate = oneCycle(0.01, step / 3);
        expect(metrics['learningRate']).toBeCloseTo(rate, 12);
        expect(counters).toEqual({ updates: done, skipped: 0 });
        const weights = subtree('classifier', before);
        const { loss, gradients } = tf.tidy(() => {
          const names = Object.keys(weights);
          const values = tensors(weights);
          const inputs = tensors(draws);
          const lossOf = (...given: tf.Tensor[]) => {
            const { logits } = classify(
              Object.fromEntries(names.map((name, i) => [name, given[i]!])),
              inputs['images'] as Tensor4D,
              inputs['dropout'] as Tensor2D,
            );
            const chosen = tf.cast(tf.oneHot(inputs['labels'] as tf.Tensor1D, 3), 'float32');
            return tf.neg(tf.mean(tf.sum(tf.mul(tf.logSoftmax(logits), chosen), 1))) as tf.Scalar;
          };
          const { value, grads } = tf.valueAndGrads(lossOf)(names.map((name) => values[name]!));
          return {
            loss: value.dataSync()[0]!,
            gradients: Object.fromEntries(names.map((name, i) => [name, grads[i]!.dataSync()])),
          };
        });
        expect(metrics['loss']).toBeCloseTo(loss, 5);
        for (const name of Object.keys(weights)) {
          const of = (tree: HostTree, kind: string) => tree[`${kind}/${name}`]!.data;
          const size = of(state, 'classifier').length;
          // Every 13th number of the large tensors.
          for (let i = 0; i < size; i += size > 500 ? 13 : 1) {
            const [m, v] = [of(state, 'optimizer/m')[i]!, of(state, 'optimizer/v')[i]!];
            const expected = 0.9 * of(before, 'optimizer/m')[i]! + 0.1 * gradients[name]![i]!;
            expect(Math.abs(m - expected)).toBeLessThan(1e-7 + 1e-4 * Math.abs(expected));
            const move = (rate * m) / (1 - 0.9 ** done) / (Math.sqrt(v / (1 - 0.999 ** done)) + 1e-8);
            expect(Math.abs(of(state, 'classifier')[i]! - (of(before, 'classifier')[i]! - move))).toBeLessThan(2e-6);
          }
        }
        before = state;
      },
    });
  });

  it('sees every epoch in an order of its own, with labels of its images and dropout of its samples', async () => {
    const program = classifierTrainingProgram(dataset, { epochs: 4, batchSize: 3, dropout: 0.25, seed });
    expect(program.numSteps).toBe(8);
    // An epoch ends where the images do, inside of a batch or not.
    const orders = [0, 1, 2, 3, 4].flatMap((epoch) => [
      ...randomStream(seed, epoch, 'classifier/epoch').permutation(count),
    ]);
    for (let step = 0; step < 8; step++) {
      const draws = (await program.draw(step))['train']![0]!;
      const rows = orders.slice(step * 3, step * 3 + 3);
      expect([...draws['labels']!.data]).toEqual(rows.map((row) => split.labels.data[row]));
      expect([...draws['images']!.data.slice(0, 64)]).toEqual(
        [...split.pixels.slice(rows[0]! * 64, rows[0]! * 64 + 64)].map((pixel) => Math.fround(pixel / 255)),
      );
      const uniforms = [0, 1, 2].flatMap((b) => [
        ...randomStream(seed, 3 * step + b, 'classifier/dropout').uniform(128),
      ]);
      // Dropped with the probability of dropout; what stays is scaled so that the mean does.
      expect([...draws['dropout']!.data]).toEqual(uniforms.map((u) => (u < 0.25 ? 0 : Math.fround(1 / 0.75))));
    }
  });

  it('rises from a 25th of the peak and falls to a 250,000th at the last step', () => {
    const rates: number[] = [];
    const program = classifierTrainingProgram(dataset, { epochs: 5, batchSize: 3, learningRate: 1, seed });
    for (let step = 0; step < program.numSteps; step++) {
      const scalar = (name: string) =>
        program.calls(step, { updates: 0 }, { train: [{}] })[0]!.inputs[`optimizer/${name}`]!.data[0]!;
      rates.push(scalar('stepSize') * (1 - 0.9));
    }
    expect(rates[0]).toBeCloseTo(1 / 25, 6);
    expect(rates.at(-1)! * 250_000).toBeCloseTo(1, 4);
    expect(rates[3]).toBeGreaterThan(0.99);
  });

  it('starts from the same weights and resumes bit for bit', async () => {
    const engine = eagerEngine('cpu');
    const program = classifierTrainingProgram(dataset, { epochs: 1, batchSize: 2, seed });
    const whole = await runTraining(program, { engine });
    const half = await runTraining(program, { engine, until: 2 });
    expect(await runTraining(program, { engine, from: half })).toEqual(whole);
  });
});
