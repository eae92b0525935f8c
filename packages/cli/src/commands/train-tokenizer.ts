/** `dimo train tokenizer`: images to tokens and back, from a dataset of images. */
import { OptionError, type Dataset, type HostTensor } from '@dimo/core';
import {
  defineTokenizer,
  encodeImages,
  tokenizerFiles,
  tokenizerTrainingProgram,
  tokenizerTrainingResult,
} from '@dimo/teacher-maskgit';
import { splitSource } from '@dimo/eval';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { requireDataset } from '../datasets.js';
import { tokenizerTrainingOptions } from '../distillation-settings.js';
import type { TrainingFlags } from '../program.js';
import { tokenizerHealth, type Health } from '../health.js';
import { writeFileAtomically } from '../run/folder.js';
import { runEndOf } from '../run/health-file.js';
import { trainRun, type TrainRunResult } from '../run/train-run.js';
import { decoderOf } from '../samplers.js';
import { shellQuoted } from '../resume-command.js';
import { runTrainingCommand, type TrainingSession } from '../train-command.js';
import { version } from '../version.js';

interface TokenizerResult extends TrainRunResult {
  readonly folder: string;
  /** Mean squared error of test images in [0, 1]. */
  readonly testError: number;
  readonly health: Health;
}

/** Trains a tokenizer, or continues. */
export function trainTokenizer(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<TokenizerResult>({
    name: 'train tokenizer',
    flags,
    fallbackName: ({ config }) => `tokenizer-${config.dataset}`,
    train: (session) => train(session, flags),
    health: ({ health }) => health,
    describe: ({ folder, testError }) => [
      `tokenizer ${folder}, mean squared error on test images ${testError.toFixed(5)}`,
      `next: dimo train teacher --tokenizer ${shellQuoted(folder)}`,
    ],
    facts: ({ folder, testError, counters }) => ({ tokenizer: folder, testError, counters }),
  });
}

async function train(session: TrainingSession, flags: TrainingFlags): Promise<TokenizerResult> {
  const { config, engine, run, project } = session;
  const dataset = await requireDataset(config.dataset, project.registry);
  const { tokenizer, config: resolved } = defineTokenizer(config.train.tokenizer.config, 'train.tokenizer.config');
  if (tokenizer.imageShape.join() !== dataset.imageShape.join())
    throw new OptionError(
      `train.tokenizer.config: the tokenizer is for images [${tokenizer.imageShape.join(', ')}], ${dataset.name} has [${dataset.imageShape.join(', ')}]`,
    );
  let perplexity: number | undefined;
  const program = tokenizerTrainingProgram(tokenizer, dataset.train, tokenizerTrainingOptions(config));
  const result = await trainRun({
    label: 'train tokenizer',
    unit: 'images/s',
    program,
    engine,
    run,
    config,
    identity: {
      config: { dataset: config.dataset, tokenizer: resolved, training: config.train.tokenizer },
      seed: config.seed,
      engine: engine.info.name,
      version,
    },
    resume: session.resume,
    resumeOverride: flags.resumeOverride,
    quiet: flags.quiet,
    shown: [
      ['loss', 'loss'],
      ['squaredError', 'error'],
      ['perplexity', 'perplexity'],
    ],
    onStep({ metrics }) {
      perplexity = metrics['perplexity'] ?? perplexity;
    },
  });
  const weights = tokenizerTrainingResult(result.state);
  const folder = join(run.path, 'tokenizer');
  await mkdir(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(tokenizerFiles({ config: resolved, weights })))
    await writeFileAtomically(join(folder, name), bytes);
  const { testError, variance } = await reconstruct(session, dataset, { tokenizer, weights });
  const health = tokenizerHealth(runEndOf(result, weights), { testError, variance, perplexity });
  return { ...result, folder, testError, health };
}

/** Reconstructs test images: a picture of some, the error of a thousand, and their variance about the mean image. */
async function reconstruct(
  { engine, run }: TrainingSession,
  dataset: Dataset,
  {
    tokenizer,
    weights,
  }: Pick<ReturnType<typeof defineTokenizer>, 'tokenizer'> & { weights: Record<string, HostTensor> },
): Promise<{ readonly testError: number; readonly variance: number }> {
  const count = Math.min(1000, dataset.test.count);
  const size = dataset.imageShape.reduce((product, n) => product * n, 1);
  const images = { count, pixels: dataset.test.pixels.subarray(0, count * size) };
  const tokens = await encodeImages(engine, { decoder: tokenizer, weights, images });
  const decoder = await decoderOf(engine, { decoder: tokenizer }, weights, { batchSize: Math.min(250, count) });
  try {
    const copies = await decoder!.images(tokens);
    const originals = splitSource(dataset.imageShape, dataset.test).read(0, count);
    let sum = 0;
    for (let i = 0; i < originals.data.length; i++) sum += (originals.data[i]! - copies.data[i]!) ** 2;
    const { encodeGrid } = await import('../images.js');
    const shown = 32;
    const data = new Float32Array(2 * shown * size);
    for (let i = 0; i < shown; i++) {
      data.set(originals.data.subarray(i * size, (i + 1) * size), 2 * i * size);
      data.set(copies.data.subarray(i * size, (i + 1) * size), (2 * i + 1) * size);
    }
    await mkdir(join(run.path, 'samples'), { recursive: true });
    const grid = encodeGrid({ dtype: 'float32', shape: [2 * shown, ...dataset.imageShape], data }, 8);
    await writeFileAtomically(join(run.path, 'samples', 'reconstructions.png'), grid.png);
    return { testError: sum / originals.data.length, variance: varianceOf(originals.data, size) };
  } finally {
    await decoder?.dispose();
  }
}

/** Mean squared distance of images from their mean image. */
function varianceOf(images: Float32Array, size: number): number {
  const count = images.length / size;
  const mean = new Float64Array(size);
  images.forEach((value, i) => (mean[i % size]! += value / count));
  return images.reduce((sum, value, i) => sum + (value - mean[i % size]!) ** 2, 0) / images.length;
}
