/** `dimo train tokenizer`: images to tokens and back, from a dataset of images. */
import {
  drawsVersion,
  OptionError,
  readImages,
  readPixels,
  specsOf,
  type Dataset,
  type HostTensor,
  type TrainingProgram,
} from '@dimo/core';
import {
  defineTokenizer,
  encodeImages,
  streamTokenizerFiles,
  tokenizerConfigFor,
  tokenizerTrainingProgram,
  tokenizerTrainingResult,
  type DefinedTokenizer,
} from '@dimo/tokenizers';
import { join } from 'node:path';
import { datasetName, requireDataset } from '../project/datasets.js';
import { tokenizerTrainingOptions, warmupNote } from '../training/distillation-settings.js';
import type { TrainingFlags } from '../flags/training-flags.js';
import { tokenizerHealth, type Health } from '../run/health.js';
import { checkRunFits } from '../run/run-needs.js';
import { folderInRun, writeFileAtomically } from '../run/folder.js';
import { runEndOf } from '../run/health-file.js';
import { trainRun, writeResult, type TrainRunResult } from '../run/train-run.js';
import { openDecoder } from '@dimo/pipeline';
import type { Project } from '../project/session.js';
import { shellQuoted } from '../flags/resume-command.js';
import { contentOf, datasetFlag } from '../training/dataset-facts.js';
import { withTokenizerPreset } from '../training/picture-project.js';
import { runTrainingCommand, type TrainingSession } from '../training/train-command.js';
import { printError } from '../output/terminal.js';
import { version } from '../version.js';

interface TokenizerResult extends TrainRunResult {
  readonly folder: string;
  /** Mean squared error of test images in [0, 1]. */
  readonly testError: number;
  readonly health: Health;
}

/** Trains a tokenizer, or continues. */
export function trainTokenizer(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<TokenizerResult, TokenizerInputs>({
    name: 'train tokenizer',
    flags,
    complete: withTokenizerPreset(flags.quiet),
    fallbackName: ({ config }) => `tokenizer-${datasetName(config.dataset)}`,
    check: async (project) => {
      const inputs = await checkInputs(project, flags.quiet);
      const warning = warmupNote('train.tokenizer', project.config.train.tokenizer);
      if (!flags.quiet && warning !== undefined) printError(warning);
      return async (engine) => {
        const state = specsOf(inputs.program.initialState());
        const { config } = project;
        const { notes } = await checkRunFits({ engine: engine.info.name, config, state, resume: flags.resume });
        if (!flags.quiet) notes.forEach((line) => printError(line));
        return inputs;
      };
    },
    train: (session, inputs) => train(session, inputs, flags),
    health: ({ health }) => health,
    describe: ({ folder, testError }, session) => [
      `tokenizer ${folder}, mean squared error on test images ${testError.toFixed(5)}`,
      `next: dimo train teacher${datasetFlag(session)} --tokenizer ${shellQuoted(folder)}`,
    ],
    facts: ({ folder, testError, counters }) => ({ tokenizer: folder, testError, counters }),
  });
}

/** What a tokenizer is trained on, and how. */
interface TokenizerInputs extends DefinedTokenizer {
  readonly dataset: Dataset;
  readonly program: TrainingProgram<never>;
}

async function checkInputs({ config, registry }: Project, quiet: boolean): Promise<TokenizerInputs> {
  const dataset = await requireDataset({ config, registry }, { quiet });
  const where = 'train.tokenizer.config';
  const { tokenizer, config: resolved } = defineTokenizer(
    tokenizerConfigFor(config.train.tokenizer.config, dataset.imageShape, where),
    where,
  );
  if (tokenizer.imageShape.join() !== dataset.imageShape.join())
    throw new OptionError(
      `train.tokenizer.config: the tokenizer is for images [${tokenizer.imageShape.join(', ')}], ${dataset.name} has [${dataset.imageShape.join(', ')}]`,
    );
  const program = tokenizerTrainingProgram(tokenizer, dataset.train, tokenizerTrainingOptions(config));
  return { dataset, tokenizer, config: resolved, program: program as TrainingProgram<never> };
}

async function train(
  session: TrainingSession,
  { dataset, tokenizer, config: resolved, program }: TokenizerInputs,
  flags: TrainingFlags,
): Promise<TokenizerResult> {
  const { config, engine, run } = session;
  const { preset: _preset, ...training } = config.train.tokenizer;
  let perplexity: number | undefined;
  const result = await trainRun({
    label: 'train tokenizer',
    unit: 'images/s',
    program,
    engine,
    run,
    config,
    identity: {
      config: {
        draws: drawsVersion,
        dataset: config.dataset,
        ...contentOf(dataset),
        tokenizer: resolved,
        training,
      },
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
    observe(_step, metrics) {
      perplexity = metrics['perplexity'] ?? perplexity;
      return [];
    },
    async finish({ deviceState }) {
      const names = tokenizerTrainingResult(
        Object.fromEntries(Object.keys(deviceState.specs).map((name) => [name, name])),
      );
      const weights = tokenizerTrainingResult(await deviceState.download(Object.values(names)));
      const place = await folderInRun(run.path, 'tokenizer');
      // The description last: a folder without it is not taken for a tokenizer.
      for (const [name, content] of Object.entries(streamTokenizerFiles({ config: resolved, weights })).reverse())
        await writeFileAtomically(join(place, name), content);
      return { folder: place, weights };
    },
  });
  const { folder, weights } = result.made;
  const { testError, variance } = await writeResult(run, result, () =>
    reconstruct(session, dataset, { tokenizer, weights }),
  );
  const health = tokenizerHealth(runEndOf(result), { testError, variance, perplexity });
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
  // Of few pictures none may be kept for testing.
  const split = dataset.test.count > 0 ? dataset.test : dataset.train;
  const count = Math.min(1000, split.count);
  const size = dataset.imageShape.reduce((product, n) => product * n, 1);
  const rows = Int32Array.from({ length: count }, (_, i) => i);
  const images = { count, pixels: await readPixels(dataset.imageShape, split, rows) };
  const tokens = await encodeImages(engine, { decoder: tokenizer, weights, images });
  const decoder = await openDecoder(engine, { decoder: tokenizer }, weights, { batchSize: Math.min(250, count) });
  try {
    const copies = await decoder!.images(tokens);
    const originals = await readImages(dataset.imageShape, split, rows);
    let sum = 0;
    for (let i = 0; i < originals.data.length; i++) sum += (originals.data[i]! - copies.data[i]!) ** 2;
    const { encodeGrid } = await import('../output/images.js');
    const shown = Math.min(32, count);
    const data = new Float32Array(2 * shown * size);
    for (let i = 0; i < shown; i++) {
      data.set(originals.data.subarray(i * size, (i + 1) * size), 2 * i * size);
      data.set(copies.data.subarray(i * size, (i + 1) * size), (2 * i + 1) * size);
    }
    const grid = encodeGrid({ dtype: 'float32', shape: [2 * shown, ...dataset.imageShape], data }, 8);
    await writeFileAtomically(join(await folderInRun(run.path, 'samples'), 'reconstructions.png'), grid.png);
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
