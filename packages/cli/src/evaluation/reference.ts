/** The judge of a dataset, and what generated images are compared with; both are kept in a cache folder. */
import { readFileChecked } from '@dimo/backend-node';
import type { Dataset, Engine } from '@dimo/core';
import {
  createReference,
  mnistClassifierLocation,
  planJudge,
  randomJudge,
  readClassifier,
  readJudge,
  readReference,
  referenceKey,
  trainJudge,
  writeReference,
  type EvaluationReference,
  type FeatureExtractor,
} from '@dimo/eval';
import { fileURLToPath } from 'node:url';
import type { DimoConfig } from '../config/schema.js';
import { cached } from './content-cache.js';
import { interruptible } from '../run/interruptible.js';
import { createProgress, type ProgressOptions } from '../run/progress.js';

/** What making them needs. */
export interface ReferenceContext {
  readonly engine: Engine;
  readonly config: DimoConfig;
  readonly quiet: boolean;
  readonly onProgress: (line: string) => void;
}

/** A feature network. */
export interface LoadedJudge {
  readonly extractor: FeatureExtractor;
  /** What a reader of its numbers has to know. */
  readonly remark?: string;
}

/** The network whose features the images of a dataset are judged by. @throws OptionError */
export async function loadJudge(dataset: Dataset, context: ReferenceContext): Promise<LoadedJudge> {
  const { engine, config, onProgress } = context;
  const { numSteps, ...others } = config.eval.judge;
  const settings = { ...others, ...(numSteps === undefined ? {} : { numSteps }) };
  const plan = await planJudge(dataset, settings);
  const remark = plan.remark === undefined ? {} : { remark: plan.remark };
  if (plan.kind === 'random') return { extractor: randomJudge(plan, settings.seed), ...remark };
  if (plan.kind === 'bundled') {
    const path = fileURLToPath(mnistClassifierLocation);
    return { extractor: readClassifier(await readFileChecked(path), path) };
  }
  const extractor = await cached({
    kind: 'judge',
    key: plan.key,
    read: (bytes, path) => readJudge(plan, bytes, path),
    onProblem: onProgress,
    make() {
      onProgress(`training ${plan.name}, whose features the images are judged by (once, eval.judge) ...`);
      const { batchSize } = plan;
      return withProgress(
        context,
        { label: 'judge', numSteps: plan.numSteps, batchSize, unit: 'images/s' },
        (update, signal) =>
          trainJudge(plan, {
            ...{ engine, dataset, settings, signal },
            onProgress: ({ step, metrics }) =>
              update(step, [
                ['loss', metrics['loss']!],
                ['accuracy', metrics['accuracy']!],
              ]),
          }),
      );
    },
  });
  return { extractor, ...remark };
}

/** The reference of a dataset for the number of samples that the configuration asks for. */
export async function loadReference(
  dataset: Dataset,
  extractor: FeatureExtractor,
  context: ReferenceContext,
): Promise<EvaluationReference> {
  const options = { dataset, extractor, sampleCount: context.config.eval.count };
  const { count } = dataset.train;
  return cached({
    kind: 'reference',
    key: await referenceKey(options),
    read: readReference,
    onProblem: context.onProgress,
    async make() {
      context.onProgress(`features of the ${count} training images of ${dataset.name} (once) ...`);
      const reference = await withProgress(
        context,
        { label: 'features', numSteps: count, batchSize: 1, unit: 'images/s' },
        (update, signal) =>
          createReference({ ...options, engine: context.engine, signal, onProgress: (done) => update(done) }),
      );
      return writeReference(reference);
    },
  });
}

type Update = (step: number, numbers?: readonly (readonly [string, number])[]) => void;

/** Long work with a progress line, which Ctrl-C ends. */
function withProgress<T>(
  { quiet, config }: ReferenceContext,
  shown: Pick<ProgressOptions, 'label' | 'numSteps' | 'batchSize' | 'unit'>,
  work: (update: Update, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return interruptible(async (signal) => {
    const { everySeconds } = config.log;
    const progress = createProgress({ ...shown, firstStep: 0, everySeconds, quiet });
    try {
      return await work((step, numbers = []) => progress.update({ step, numbers }), signal);
    } finally {
      progress.finish();
    }
  });
}
