/** Gradients and progress of tokenizer training on tiny images. */
import { eagerEngine, OptionError, randomStream, runTraining, ShapeError, type HostTree } from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeImages } from './encode-images.js';
import { patchVqTokenizer } from './patch-vq.js';
import { tokenizerTrainingProgram, tokenizerTrainingResult } from './training.js';
import { vqganTokenizer } from './vqgan/vqgan.js';

beforeAll(() => tf.setBackend('cpu'));

const patchVq = patchVqTokenizer({
  imageShape: [8, 8, 1],
  codebookSize: 4,
  codeWidth: 2,
  encoderWidth: 8,
  decoderWidth: 16,
});
const vqgan = vqganTokenizer({
  embed_dim: 4,
  n_embed: 8,
  ddconfig: {
    ch: 32,
    ch_mult: [1, 1],
    num_res_blocks: 1,
    attn_resolutions: [],
    resolution: 4,
    z_channels: 4,
    in_channels: 1,
    out_ch: 1,
  },
});

/** Images whose patches are all black or all white, `count` of them. */
function blockImages(count: number, size: number, block: number) {
  const pixels = new Uint8Array(count * size * size);
  const isWhite = randomStream(5, 0, 'blocks').integers(count * (size / block) ** 2, 2);
  for (let i = 0; i < pixels.length; i++) {
    const image = Math.floor(i / (size * size));
    const row = Math.floor((i % (size * size)) / size / block);
    const column = Math.floor((i % size) / block);
    pixels[i] = 255 * isWhite[((image * size) / block) * (size / block) + row * (size / block) + column]!;
  }
  return { count, pixels };
}

describe('reconstruction', () => {
  it.each([patchVq, vqgan])('of $name has the gradient of its loss', (tokenizer) => {
    const size = 12;
    const raw = tf.tensor4d(randomStream(1, 0, 'raw').normal(size), [1, 3, 4, 1]);
    const images = tf.tensor4d(randomStream(1, 0, 'images').uniform(size), [1, 3, 4, 1]);
    const { gradient } = tokenizer.reconstruction(raw, images);
    const values = raw.dataSync();
    const analytic = gradient.dataSync();
    for (let i = 0; i < size; i++) {
      const at = (delta: number) => {
        const changed = values.slice();
        changed[i]! += delta;
        return tokenizer.reconstruction(tf.tensor4d(changed, [1, 3, 4, 1]), images).loss.dataSync()[0]!;
      };
      // Losses near 1 have a rounding error of 1e-7, divided by 2e-3.
      expect(Math.abs((at(1e-3) - at(-1e-3)) / 2e-3 - analytic[i]!)).toBeLessThan(3e-4);
    }
  });
});

describe('tokenizer training', () => {
  it('learns black and white patches and keeps its codes apart', async () => {
    const images = blockImages(64, 8, 4);
    const engine = eagerEngine('cpu');
    const options = {
      numSteps: 70,
      batchSize: 8,
      learningRate: 2e-2,
      deadBelow: 0.05,
      learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
    };
    const losses: number[] = [];
    const { state } = await runTraining(tokenizerTrainingProgram(patchVq, images, options), {
      engine,
      onStep: ({ metrics }) => void losses.push(metrics['squaredError']!),
    });
    expect(losses[0]).toBeGreaterThan(0.15);
    expect(losses.at(-1)).toBeLessThan(0.01);

    const weights = tokenizerTrainingResult(state);
    const tokens = await encodeImages(engine, { decoder: patchVq, weights, images, batchSize: 24 });
    expect(tokens.shape).toEqual([64, 4]);
    const colours = new Map<number, Set<number>>();
    tokens.data.forEach((token, i) => {
      const image = Math.floor(i / 4);
      const pixel = image * 64 + Math.floor((i % 4) / 2) * 32 + (i % 2) * 4;
      colours.set(token, (colours.get(token) ?? new Set()).add(images.pixels[pixel]!));
    });
    // No token stands for both colours.
    expect([...colours.values()].every((colour) => colour.size === 1)).toBe(true);
    expect(colours.size).toBeGreaterThan(1);
  });

  it('moves every weight, and the encoder by the straight-through gradient', async () => {
    const images = blockImages(16, 8, 4);
    const program = tokenizerTrainingProgram(patchVq, images, {
      numSteps: 3,
      batchSize: 8,
      learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
    });
    const before = tokenizerTrainingResult(program.initialState());
    const { state } = await runTraining(program, { engine: eagerEngine('cpu') });
    const after: HostTree = tokenizerTrainingResult(state);
    const unmoved = Object.keys(before).filter((name) =>
      before[name]!.data.every((x, i) => x === after[name]!.data[i]),
    );
    expect(unmoved).toEqual([]);
  });

  it('refuses images of another shape and batches larger than the data', () => {
    const images = blockImages(4, 8, 4);
    expect(() => tokenizerTrainingProgram(vqgan, images)).toThrow(ShapeError);
    expect(() => tokenizerTrainingProgram(patchVq, images, { batchSize: 5 })).toThrow(OptionError);
    expect(() => tokenizerTrainingProgram(patchVq, images, { codebookDecay: 1 })).toThrow(/codebookDecay/);
  });
});
