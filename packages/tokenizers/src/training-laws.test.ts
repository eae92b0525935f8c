/**
 * What only several steps of tokenizer training show: gradients against autodiff of the whole loss with a straight-through
 * codebook, Adam's count of updates past a skipped step, a codebook that a skipped step leaves alone, the order of every
 * epoch, and the end of re-seeding.
 */
import {
  eagerEngine,
  float32,
  learningRateFactor,
  nearestCodes,
  randomStream,
  runTraining,
  subtree,
  type HostTree,
  type PhaseInputs,
  type TensorTree,
  type TrainingProgram,
} from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { updateCodebook } from './codebook-average.js';
import { encodeImages } from './encode-images.js';
import { patchVqTokenizer } from './patch-vq.js';
import { codebookName } from './tokenizer.js';
import { tokenizerTrainingProgram, tokenizerTrainingResult } from './training.js';

beforeAll(() => tf.setBackend('cpu'));

const tokenizer = patchVqTokenizer({
  imageShape: [8, 8, 1],
  codebookSize: 4,
  codeWidth: 2,
  encoderWidth: 8,
  decoderWidth: 16,
});
const count = 7;
const images = { count, pixels: Uint8Array.from(randomStream(4, 0, 'pixels').integers(count * 64, 256)) };
const seed = 9;
const learningRateSchedule = { kind: 'linear', warmupSteps: 1, finalFraction: 0.2 } as const;

function tensors(tree: HostTree): TensorTree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data.slice(), [...shape], dtype)]),
  );
}

/** reconstruction(decode(v + stop(code(v) - v))) + commitment mean (v - stop(code(v)))^2, by autodiff. */
function lossOf(state: HostTree, batch: HostTree[string], commitment: number) {
  return tf.tidy(() => {
    const { [codebookName]: codebook, ...weights } = tensors(subtree('tokenizer', state));
    const pixels = tf.tensor(batch.data.slice(), [...batch.shape]) as tf.Tensor;
    const input = pixels as Tensor4D;
    const names = Object.keys(weights);
    const vectorsOf = (values: TensorTree) => tokenizer.encodeVectors(values, input);
    const fixed = vectorsOf(weights);
    const codes = nearestCodes(tf.reshape(fixed, [-1, 2]) as Tensor2D, codebook as Tensor2D);
    const quantized = tf.reshape(tf.gather(codebook as Tensor2D, codes), fixed.shape) as Tensor4D;
    const jump = tf.sub(quantized, fixed);
    const { value, grads } = tf.valueAndGrads((...given: tf.Tensor[]) => {
      const values = Object.fromEntries(names.map((name, i) => [name, given[i]!]));
      const vectors = vectorsOf(values);
      const raw = tokenizer.decodeVectors(values, tf.add(vectors, jump) as Tensor4D);
      const difference = tf.sub(vectors, quantized);
      const pull = tf.mul(tf.mean(tf.mul(difference, difference)), commitment);
      return tf.add(tokenizer.reconstruction(raw, input).loss, pull) as tf.Scalar;
    })(names.map((name) => weights[name]!));
    const next = updateCodebook(
      {
        codebook: codebook as Tensor2D,
        counts: tf.tensor1d(state['codebook/counts']!.data as Float32Array),
        sums: tf.tensor2d(state['codebook/sums']!.data as Float32Array, [4, 2]),
      },
      {
        vectors: tf.reshape(fixed, [-1, 2]) as Tensor2D,
        codes,
        reseedUniforms: tf.zeros([4]),
        reseedBelow: tf.scalar(0),
      },
      0.9,
    );
    return {
      loss: value.dataSync()[0]!,
      gradients: Object.fromEntries(names.map((name, i) => [name, Array.from(grads[i]!.dataSync())])),
      codebook: Array.from(next.codebook.dataSync()),
      counts: Array.from(next.counts.dataSync()),
    };
  });
}

describe('tokenizer training', () => {
  it('makes Adam updates of the straight-through loss, counts those alone, and skips without a trace', async () => {
    const numSteps = 5;
    const commitment = 0.7;
    const program = tokenizerTrainingProgram(tokenizer, images, {
      numSteps,
      batchSize: 3,
      seed,
      learningRate: 0.01,
      learningRateSchedule,
      commitment,
      codebookDecay: 0.9,
      reseedFraction: 0,
      onNonFinite: 'skip',
      optimizer: { beta1: 0.8, beta2: 0.9, epsilon: 1e-6 },
    });
    const broken = [0, 2];
    const watched: TrainingProgram<PhaseInputs> = {
      ...program,
      async draw(step) {
        const { train } = await program.draw(step);
        const images = float32([3, 8, 8, 1], new Float32Array(192).fill(NaN));
        return { train: train!.map((draws) => (broken.includes(step) ? { ...draws, images } : draws)) };
      },
    };
    const names = Object.keys(subtree('optimizer/m', program.initialState()));
    expect(names).not.toContain(codebookName);
    let before = program.initialState();
    let updates = 0;
    await runTraining(watched, {
      engine: eagerEngine('cpu'),
      async onStep({ step: done, metrics, counters, snapshot }) {
        const step = done - 1;
        const { state } = await snapshot();
        if (broken.includes(step)) expect(state).toEqual(before);
        else {
          const [draws] = (await program.draw(step))['train']!;
          const expected = lossOf(before, draws!['images']!, commitment);
          expect(metrics['loss']).toBeCloseTo(expected.loss, 5);
          const rate = 0.01 * learningRateFactor(learningRateSchedule, step, numSteps);
          expect(metrics['learningRate']).toBeCloseTo(rate, 12);
          updates++;
          for (const name of names) {
            const of = (tree: HostTree, kind: string) => tree[`${kind}/${name}`]!.data;
            expected.gradients[name]!.forEach((g, i) => {
              const m = 0.8 * of(before, 'optimizer/m')[i]! + 0.2 * g;
              const v = 0.9 * of(before, 'optimizer/v')[i]! + 0.1 * g * g;
              // Gradients of two ways of computing, 1e-6 apart.
              expect(Math.abs(of(state, 'optimizer/m')[i]! - m)).toBeLessThan(2e-6 + 1e-4 * Math.abs(m));
              const [m1, v1] = [of(state, 'optimizer/m')[i]!, of(state, 'optimizer/v')[i]!];
              expect(Math.abs(v1 - v)).toBeLessThan(1e-6 + 1e-3 * v);
              const move = (rate * m1) / (1 - 0.8 ** updates) / (Math.sqrt(v1 / (1 - 0.9 ** updates)) + 1e-6);
              const moved = of(before, 'tokenizer')[i]! - move;
              expect(Math.abs(of(state, 'tokenizer')[i]! - moved)).toBeLessThan(2e-6);
            });
          }
          const codebook = state[`tokenizer/${codebookName}`]!.data;
          expected.codebook.forEach((value, i) => expect(codebook[i]).toBeCloseTo(value, 4));
          expected.counts.forEach((value, i) => expect(state['codebook/counts']!.data[i]).toBeCloseTo(value, 5));
        }
        expect(counters).toEqual({ updates, skipped: done - updates });
        before = state;
      },
    });
    expect(updates).toBe(3);
  });

  it('sees every epoch in an order of its own, and re-seeds dead codes in the first part of a run', async () => {
    const options = { numSteps: 8, batchSize: 3, seed, reseedFraction: 0.5, deadBelow: 0.2 };
    const program = tokenizerTrainingProgram(tokenizer, images, options);
    const steps = await Promise.all(Array.from({ length: 8 }, (_, step) => program.draw(step)));
    const drawn = steps.map(({ train }) => train![0]!);
    const orders = [0, 1, 2, 3].flatMap((epoch) => [
      ...randomStream(seed, epoch, 'tokenizer/epoch').permutation(count),
    ]);
    drawn.forEach((draws, step) => {
      // An epoch of 7 images ends inside of a batch of 3.
      const rows = orders.slice(step * 3, step * 3 + 3);
      const pixels = rows.flatMap((row) => [...images.pixels.slice(row * 64, row * 64 + 64)]);
      expect([...draws['images']!.data]).toEqual(pixels.map((pixel) => Math.fround(pixel / 255)));
      expect(draws['reseedUniforms']!.data).toEqual(randomStream(seed, step, 'tokenizer/reseed').uniform(4));
      // A fifth of the mean count: 3 images of 4 positions for 4 codes.
      expect(draws['reseedBelow']!.data[0]).toBeCloseTo(step < 4 ? 0.2 * 3 : 0, 6);
    });
  });

  it('resumes bit for bit from every step', async () => {
    const engine = eagerEngine('cpu');
    const program = tokenizerTrainingProgram(tokenizer, images, { numSteps: 3, batchSize: 3, seed });
    const whole = await runTraining(program, { engine });
    for (const until of [1, 2])
      expect(await runTraining(program, { engine, from: await runTraining(program, { engine, until }) })).toEqual(
        whole,
      );
  });
});

describe('tokens of many images', () => {
  it('are the same for every batch size, the last partial batch included', async () => {
    const engine = eagerEngine('cpu');
    // Trained for a moment, so that several codes are in use.
    const program = tokenizerTrainingProgram(tokenizer, images, { numSteps: 3, batchSize: 7, seed, deadBelow: 0.3 });
    const weights = tokenizerTrainingResult((await runTraining(program, { engine })).state);
    const encode = async (batchSize: number) => {
      const done: number[] = [];
      const tokens = await encodeImages(engine, {
        decoder: tokenizer,
        weights,
        images,
        batchSize,
        onProgress: (number) => void done.push(number),
      });
      return { tokens, done };
    };
    const whole = await encode(7);
    expect(new Set(whole.tokens.data).size).toBeGreaterThan(1);
    expect(await encode(3)).toEqual({ tokens: whole.tokens, done: [3, 6, 7] });
    expect((await encode(100)).tokens).toEqual(whole.tokens);
  });
});
