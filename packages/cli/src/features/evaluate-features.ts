/** `dimo eval --features`: the metrics of papers, for models and for pictures that are there already. */
import {
  OptionError,
  prepareTeacher,
  type Engine,
  type LoadedGenerator,
  type PluginRegistry,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import {
  clipScore,
  featureMetrics,
  type EvaluationRow,
  type FeatureMetricName,
  type FeatureReference,
  type NetworkFeatures,
} from '@dimo/eval';
import type { DimoConfig } from '../config/schema.js';
import { generatorMethod, teacherMethods, type EvaluationMethod } from '../evaluation/methods.js';
import type { CaptionNetwork } from './caption-features.js';
import { extractPictures, type ExtractContext } from './extract.js';
import { openPictures, type PictureSource } from './pictures.js';
import { identityOfModel, openSampled } from './sampled-pictures.js';

/** What is measured, and how. */
export interface FeatureEvaluation {
  /** Absent where no model is sampled. */
  readonly engine: Engine | undefined;
  readonly config: DimoConfig;
  readonly registry: PluginRegistry;
  readonly teacher: { readonly teacher: Teacher; readonly name: string } | undefined;
  readonly generators: readonly { readonly generator: LoadedGenerator; readonly name: string }[];
  /** Folders and archives of pictures. */
  readonly images: readonly string[];
  readonly reference: FeatureReference;
  readonly metrics: readonly FeatureMetricName[];
  /** Prompts of the samples and captions of the pictures, in turn; empty where there are none. */
  readonly captions: readonly string[];
  /** For the CLIP score. */
  readonly captionNetwork: CaptionNetwork | undefined;
  readonly context: ExtractContext;
}

/** One row for every set of pictures and every method and seed. */
export async function evaluateFeatures(evaluation: FeatureEvaluation): Promise<EvaluationRow[]> {
  const rows: EvaluationRow[] = [];
  const { teacher, generators, engine, registry, config } = evaluation;
  for (const path of evaluation.images) {
    const pictures = await openPictures(path);
    try {
      rows.push({ method: path, ...(await measure(pictures, evaluation)) });
    } finally {
      await pictures.dispose();
    }
  }
  if (!engine) return rows;
  const add = async (definition: TeacherDefinition, identity: unknown, methods: MethodsOf): Promise<void> => {
    const prepared = await prepareTeacher(engine, definition);
    try {
      for (const method of methods(prepared.teacher))
        rows.push(...(await measureMethod(method, { identity, prepared: prepared.teacher }, evaluation, engine)));
    } finally {
      await prepared.dispose();
    }
  };
  if (teacher)
    await add(teacher.teacher, await identityOfModel(teacher.teacher, teacher.teacher), ({ nullCondition }) =>
      teacherMethods({ ...teacher.teacher, nullCondition }, { engine, config, registry }),
    );
  for (const { generator, name } of generators)
    await add(
      generator.definition,
      [generator.description, await identityOfModel(generator, generator.definition)],
      () => [generatorMethod(generator, generators.length > 1 ? name : undefined, { engine, config, registry })],
    );
  return rows;
}

type MethodsOf = (prepared: TeacherDefinition) => EvaluationMethod[];

async function measureMethod(
  method: EvaluationMethod,
  { identity, prepared }: { readonly identity: unknown; readonly prepared: TeacherDefinition },
  evaluation: FeatureEvaluation,
  engine: Engine,
): Promise<EvaluationRow[]> {
  const { config, captions, context } = evaluation;
  const { count, seeds, batchSize } = config.eval;
  const rows: EvaluationRow[] = [];
  for (const seed of seeds) {
    context.onNote(`${method.name}: ${count} samples, seed ${seed} ...`);
    const source = await openSampled({
      ...{ method, count, seed, batchSize, prompts: captions, conditions: prepared.conditions },
      identity: [identity, config.sampler, config.sample, engine.info.name],
    });
    try {
      const metrics = await measure(source, evaluation);
      const [rate, steps] = [source.rate(), source.steps()];
      rows.push({
        method: seeds.length > 1 ? `${method.name}, seed ${seed}` : method.name,
        ...(steps === undefined ? {} : { steps: Number(steps.toFixed(1)) }),
        ...metrics,
        ...(rate === undefined ? {} : { imagesPerSecond: rate }),
      });
    } finally {
      await source.dispose();
    }
  }
  return rows;
}

/** The metrics of one set of pictures. */
async function measure(pictures: PictureSource, evaluation: FeatureEvaluation): Promise<Omit<EvaluationRow, 'method'>> {
  const { reference, metrics, config, context, captions, captionNetwork } = evaluation;
  const { precisionNeighbors, densityNeighbors } = config.eval;
  checkCount(pictures, evaluation);
  const extracted: NetworkFeatures = await extractPictures(pictures, context, reference);
  const { rows } = extracted.features;
  context.onNote(`${pictures.name}: ${[...metrics, ...(captionNetwork ? ['CLIP score'] : [])].join(', ')} ...`);
  const texts = await captionNetwork?.features(captions.slice(0, rows));
  return {
    count: rows,
    ...featureMetrics(extracted, reference, { metrics, precisionNeighbors, densityNeighbors }),
    ...(texts ? { clipScore: clipScore(extracted.features, repeated(texts, rows)) } : {}),
  };
}

/** Parts of the inception score. */
const inceptionSplits = 10;

/** Before hours are spent on features. @throws OptionError */
function checkCount({ name, count }: PictureSource, { metrics, config, reference }: FeatureEvaluation): void {
  const { precisionNeighbors, densityNeighbors } = config.eval;
  const neighbors = Math.max(precisionNeighbors, densityNeighbors);
  const needs: Readonly<Record<FeatureMetricName, number>> = {
    fid: 2,
    sfid: 2,
    is: inceptionSplits,
    neighbors: neighbors + 1,
    cmmd: 1,
  };
  for (const metric of metrics)
    if (count < needs[metric])
      throw new OptionError(`${name}: ${metric} needs at least ${needs[metric]} pictures, got ${count}`);
  const known = reference.features?.rows ?? Infinity;
  if (metrics.includes('neighbors') && known <= neighbors)
    throw new OptionError(`${reference.name}: neighbors needs at least ${neighbors + 1} pictures, got ${known}`);
}

/** The rows in turn. */
function repeated({ rows, columns, data }: NetworkFeatures['features'], count: number): NetworkFeatures['features'] {
  if (rows === count) return { rows, columns, data };
  const all = new Float32Array(count * columns);
  for (let i = 0; i < count; i++) all.set(data.subarray((i % rows) * columns, ((i % rows) + 1) * columns), i * columns);
  return { rows: count, columns, data: all };
}
