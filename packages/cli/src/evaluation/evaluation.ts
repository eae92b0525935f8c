/**
 * Evaluation of a teacher at several numbers of steps and of generators at one: the same conditions, count, reference and
 * seeds for every row. Image metrics where there are images and a feature network for the dataset; metrics of plugins
 * where they are asked for.
 */
import {
  OptionError,
  prepareTeacher,
  takeRows,
  type Dataset,
  type Engine,
  type HostTensor,
  type LoadedGenerator,
  type MetricPlugin,
  type PluginRegistry,
  type Teacher,
} from '@dimo/core';
import {
  arrangeByClass,
  evaluateSamples,
  type EvaluationReference,
  type EvaluationRow,
  type FeatureExtractor,
} from '@dimo/eval';
import { didYouMean } from '../config/nearest.js';
import type { DimoConfig } from '../config/schema.js';
import { evaluationConditions, type EvaluationConditions } from './conditions.js';
import { firstImages, generatorMethod, realMethods, teacherMethods, type EvaluationMethod } from './methods.js';
import { promptPage, type PromptPage } from './page.js';
import { loadJudge, loadReference, type LoadedJudge } from './reference.js';
import { encodeGrid } from '../output/images.js';

/** What is evaluated. */
export interface EvaluationTask {
  readonly engine: Engine;
  readonly config: DimoConfig;
  readonly registry: PluginRegistry;
  /** Absent for teachers whose product is judged by plugin metrics alone. */
  readonly dataset: Dataset | undefined;
  readonly teacher: { readonly teacher: Teacher; readonly name: string } | undefined;
  readonly generators: readonly { readonly generator: LoadedGenerator; readonly name: string }[];
  readonly quiet: boolean;
  readonly onProgress: (line: string) => void;
}

/** A row of the plugins' metrics. */
export interface PluginRow {
  readonly method: string;
  /** Absent for real images. */
  readonly steps?: number;
  /** Absent for real images. */
  readonly samplesPerSecond?: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** Numbers and pictures of an evaluation. */
export interface Evaluation {
  /** Empty where there are no image metrics. */
  readonly rows: readonly EvaluationRow[];
  /** Empty where no metrics of plugins were computed. */
  readonly pluginRows: readonly PluginRow[];
  readonly grids: readonly { readonly title: string; readonly png: Uint8Array }[];
  /** How the numbers were made. */
  readonly notes: readonly string[];
}

/** Evaluates everything. @throws OptionError if there is nothing to measure by. */
export async function evaluateModels(task: EvaluationTask): Promise<Evaluation> {
  const { config, dataset, teacher, generators, engine } = task;
  const definition = teacher?.teacher ?? generators[0]?.generator.definition;
  if (!definition) throw new OptionError('eval: name a teacher or a generator', { hint: 'dimo eval --help' });
  const metrics = selectMetrics(task);
  // Before minutes are spent on a judge.
  if (definition.decoder && dataset && config.eval.count > dataset.train.count)
    throw new OptionError(
      `eval.count: ${config.eval.count} samples cannot be compared with the ${dataset.train.count} training images of ${dataset.name}; ask for as many at most`,
    );
  const judge = definition.decoder && dataset ? await loadJudge(dataset, task) : undefined;
  const extractor = judge?.extractor;
  if (!extractor && metrics.length === 0)
    throw new OptionError(
      'eval: there are no images to compare with those of this teacher, and no plugin adds a metric',
      { hint: 'add a plugin with metrics, or name a dataset of images of this size with --dataset' },
    );
  const reference = extractor && dataset ? await loadReference(dataset, extractor, task) : undefined;
  const prepared = await prepareTeacher(engine, definition);
  try {
    const { conditions: source, nullCondition } = prepared.teacher;
    const conditions = await evaluationConditions(source, config.eval.count, dataset);
    const page = config.eval.prompts === undefined ? undefined : await promptPage(config.eval.prompts, source);
    const rows: EvaluationRow[] = [];
    const pluginRows: PluginRow[] = [];
    const grids: { title: string; png: Uint8Array }[] = [];
    for (const method of methodsOf(task, nullCondition, conditions)) {
      const measured = await measure(method, { task, extractor, reference, conditions, metrics, page });
      if (measured.row) rows.push(measured.row);
      if (measured.pluginRow) pluginRows.push(measured.pluginRow);
      if (measured.grid) grids.push({ title: titleOf(method), png: measured.grid });
    }
    return {
      rows,
      pluginRows,
      grids: [...grids, ...(page?.grids() ?? [])],
      notes: notesOf(task, judge, conditions),
    };
  } finally {
    await prepared.dispose();
  }
}

function methodsOf(
  task: EvaluationTask,
  nullCondition: Teacher['nullCondition'],
  { images }: EvaluationConditions,
): EvaluationMethod[] {
  const { teacher, generators, dataset } = task;
  const any = teacher?.teacher ?? { ...generators[0]!.generator.definition, ...generators[0]!.generator };
  return [
    ...(dataset && images ? realMethods(any, any.decoderWeights, { dataset, images }, task) : []),
    ...(teacher ? teacherMethods({ ...teacher.teacher, nullCondition }, task) : []),
    ...generators.map(({ generator, name }) =>
      generatorMethod(generator, generators.length > 1 ? name : undefined, task),
    ),
  ];
}

interface MeasureContext {
  readonly task: EvaluationTask;
  readonly extractor: FeatureExtractor | undefined;
  readonly reference: EvaluationReference | undefined;
  readonly conditions: EvaluationConditions;
  readonly metrics: readonly MetricPlugin[];
  readonly page: PromptPage | undefined;
}

async function measure(
  method: EvaluationMethod,
  { task, extractor, reference, conditions, metrics, page }: MeasureContext,
): Promise<{ row?: EvaluationRow; pluginRow?: PluginRow; grid?: Uint8Array }> {
  const { config, engine } = task;
  const { count, precisionNeighbors, densityNeighbors } = config.eval;
  const isReal = method.steps === undefined;
  const sampler = await method.open();
  const rows: EvaluationRow[] = [];
  const pluginRows: PluginRow[] = [];
  let grid: Uint8Array | undefined;
  try {
    // Compiles and warms up, so that the rate is that of the sampler.
    if (!isReal) {
      const first = takeRows(conditions.condition, 0, Math.min(count, config.eval.batchSize));
      await sampler.images?.(await sampler.tokens(first, 0));
    }
    // Real images are the same for every seed.
    for (const seed of isReal ? [0] : config.eval.seeds) {
      task.onProgress(`${titleOf(method)}: ${count} samples${isReal ? '' : `, seed ${seed}`} ...`);
      const started = performance.now();
      const tokens = await sampler.tokens(conditions.condition, seed);
      const images = await sampler.images?.(tokens);
      const perSecond = count / ((performance.now() - started) / 1000);
      const passes = sampler.meanPasses?.() ?? method.steps;
      const described = { method: method.name, ...(passes === undefined ? {} : { steps: Number(passes.toFixed(1)) }) };
      if (metrics.length > 0) {
        const values: Record<string, number> = {};
        for (const metric of metrics)
          values[metric.name] = await metric.compute({
            tokens,
            condition: conditions.condition,
            ...(images ? { images } : {}),
            ...(conditions.texts ? { texts: conditions.texts } : {}),
            engine,
          });
        pluginRows.push({ ...described, ...(isReal ? {} : { samplesPerSecond: perSecond }), metrics: values });
      }
      if (!images) continue;
      grid ??= gridOf(images, conditions, task.dataset?.classNames.length ?? 0);
      if (extractor && reference)
        rows.push(
          await evaluateSamples({
            engine,
            extractor,
            reference,
            images,
            ...(conditions.ids ? { labels: conditions.ids } : {}),
            ...described,
            ...(isReal ? {} : { imagesPerSecond: perSecond }),
            precisionNeighbors,
            densityNeighbors,
          }),
        );
    }
    if (!isReal) await page?.add(titleOf(method), sampler);
  } finally {
    await sampler.dispose();
  }
  return {
    ...(rows.length > 0 ? { row: meanRow(rows) } : {}),
    ...(pluginRows.length > 0 ? { pluginRow: meanPluginRow(pluginRows) } : {}),
    ...(grid ? { grid } : {}),
  };
}

function titleOf({ name, steps }: EvaluationMethod): string {
  return steps === undefined ? name : `${name}, ${plural(steps, 'step')}`;
}

/** Six rows of every class, or a square where there are no classes. */
function gridOf(images: HostTensor<'float32'>, { ids, texts }: EvaluationConditions, numClasses: number): Uint8Array {
  if (ids && !texts && numClasses > 1 && numClasses <= 32)
    return encodeGrid(arrangeByClass(images, ids.data, { numClasses, rows: 6 }), numClasses).png;
  const some = firstImages(images, 64);
  return encodeGrid(some, Math.ceil(Math.sqrt(some.shape[0]!))).png;
}

/** Metrics that were asked for by name; without names, all of them for teachers without images. */
export function selectMetrics({
  config,
  registry,
  dataset,
}: Pick<EvaluationTask, 'config' | 'registry' | 'dataset'>): MetricPlugin[] {
  const { metrics } = config.eval;
  if (metrics.length === 0) return dataset ? [] : [...registry.metrics.values()];
  return metrics.map((name) => {
    const metric = registry.metrics.get(name);
    if (metric) return metric;
    throw new OptionError(
      `eval.metrics: no plugin provides the metric "${name}"; known are ${[...registry.metrics.keys()].join(', ') || 'none'}${didYouMean(name, registry.metrics.keys())}`,
    );
  });
}

/** Means of the numbers over sampling seeds. */
function meanRow(rows: readonly EvaluationRow[]): EvaluationRow {
  const [first] = rows;
  const entries = Object.entries(first!).map(([name, value]) =>
    typeof value === 'number'
      ? [name, rows.reduce((sum, row) => sum + (row[name as keyof EvaluationRow] as number), 0) / rows.length]
      : [name, value],
  );
  return Object.fromEntries(entries) as EvaluationRow;
}

function meanPluginRow(rows: readonly PluginRow[]): PluginRow {
  const mean = (value: (row: PluginRow) => number) => rows.reduce((sum, row) => sum + value(row), 0) / rows.length;
  const names = Object.keys(rows[0]!.metrics);
  const isTimed = rows[0]!.samplesPerSecond !== undefined;
  return {
    ...rows[0]!,
    ...(isTimed ? { samplesPerSecond: mean((row) => row.samplesPerSecond!) } : {}),
    metrics: Object.fromEntries(names.map((name) => [name, mean((row) => row.metrics[name]!)])),
  };
}

function notesOf(
  { config, dataset, engine }: EvaluationTask,
  judge: LoadedJudge | undefined,
  { texts }: EvaluationConditions,
): string[] {
  const { count, seeds, precisionNeighbors, densityNeighbors } = config.eval;
  const seedText = seeds.length > 1 ? `, mean of ${seeds.length} sampling seeds` : '';
  return [
    `${count} samples a row${seedText}, engine ${engine.info.name} (${engine.info.device})`,
    ...(texts
      ? ['prompts: a text of each of so many random training images; the classes are those of the images']
      : []),
    ...(judge && dataset
      ? [
          `FID against all ${dataset.train.count} training images of ${dataset.name}, in the features of ${judge.extractor.name}; compare only rows of one table`,
          ...(judge.remark === undefined ? [] : [judge.remark]),
          `precision and recall with k = ${precisionNeighbors}, density and coverage with k = ${densityNeighbors}`,
        ]
      : []),
  ];
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
