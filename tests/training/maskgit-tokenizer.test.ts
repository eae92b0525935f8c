/** Tokenizer training on the traced engine: it makes the same step as the eager one, and both tokenizers learn. */
import { createOnnxEngine } from '@dimo/backend-node';
import { eagerEngine, largestDifference, randomStream, runTraining, type Engine } from '@dimo/core';
import { patchVqTokenizer, tokenizerTrainingProgram, vqganTokenizer } from '@dimo/tokenizers';
import '@tensorflow/tfjs-backend-cpu';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const patchVq = patchVqTokenizer({
  imageShape: [8, 8, 1],
  codebookSize: 8,
  codeWidth: 4,
  encoderWidth: 8,
  decoderWidth: 16,
});
const vqgan = vqganTokenizer({
  embed_dim: 4,
  n_embed: 8,
  imageSize: 8,
  ddconfig: {
    ch: 32,
    ch_mult: [1, 1],
    num_res_blocks: 1,
    attn_resolutions: [4],
    resolution: 8,
    z_channels: 4,
    in_channels: 1,
    out_ch: 1,
  },
});

/** 8 x 8 images of black and white blocks of side 4. */
function blockImages(count: number) {
  const pixels = new Uint8Array(count * 64);
  const isWhite = randomStream(5, 0, 'blocks').integers(count * 4, 2);
  for (let i = 0; i < pixels.length; i++) {
    const row = Math.floor((i % 64) / 32);
    const column = Math.floor((i % 8) / 4);
    pixels[i] = 255 * isWhite[Math.floor(i / 64) * 4 + row * 2 + column]!;
  }
  return { count, pixels };
}

describe.each([patchVq, vqgan])('$name', (tokenizer) => {
  const images = blockImages(64);
  let engine: Engine;
  beforeAll(async () => {
    engine = await createOnnxEngine();
  });
  afterAll(() => engine.dispose());

  it('makes the same steps traced as eagerly', async () => {
    // Plain SGD-like settings: with Adam's usual epsilon the sign of a gradient near 0 would decide a whole step.
    const optimizer = { beta1: 0, beta2: 0, epsilon: 1 };
    const program = () =>
      tokenizerTrainingProgram(tokenizer, images, {
        numSteps: 1,
        batchSize: 1,
        optimizer,
        learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
      });
    const eager = await runTraining(program(), { engine: eagerEngine('cpu') });
    const traced = await runTraining(program(), { engine });
    // Second moments are squares of gradients up to 30; everything else is of order 1.
    expect(largestDifference(withoutMoments(eager.state), withoutMoments(traced.state)).value).toBeLessThan(2e-4);
  });

  it('learns', async () => {
    const errors: number[] = [];
    const options = {
      numSteps: 100,
      batchSize: 4,
      learningRate: 4e-3,
      learningRateSchedule: { kind: 'constant', warmupSteps: 0 } as const,
      deadBelow: 0.05,
    };
    await runTraining(tokenizerTrainingProgram(tokenizer, images, options), {
      engine,
      onStep: ({ metrics }) => void errors.push(metrics['squaredError']!),
    });
    const last = errors.slice(-10).reduce((sum, error) => sum + error / 10, 0);
    expect(errors[0]).toBeGreaterThan(0.15);
    expect(last).toBeLessThan(0.05);
  });
});

function withoutMoments<T>(state: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(state).filter(([name]) => !name.startsWith('optimizer/')));
}
