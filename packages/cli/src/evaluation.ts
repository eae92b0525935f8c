/**
 * Evaluation of a teacher at several numbers of steps and of generators at one: the same labels, count, reference and
 * seeds for every row. Image metrics where there are images and a feature network for the dataset; metrics of plugins
 * for everything.
 */
import type { Dataset, Engine, HostTensor, LoadedGenerator, MetricPlugin, PluginRegistry, Teacher } from '@dimo/core';
import { int32, OptionError, randomStream } from '@dimo/core';
import {
  arrangeByClass,
  evaluateSamples,
  type EvaluationReference,
  type EvaluationRow,
  type FeatureExtractor,
} from '@dimo/eval';
import type { DimoConfig } from './config/schema.js';
import { loadExtractor, loadReference } from './evaluation-reference.js';
import { encodeGrid } from './images.js';
import {
  conditionsFor,
  generatorSampler,
  samplingOf,
  teacherSampler,
  type NamedConditions,
  type Sampler,
} from './samplers.js';

/** What is evaluated. */
export interface EvaluationTask {
  readonly engine: Engine;
  readonly config: DimoConfig;
  readonly registry: PluginRegistry;
  /** Absent for teachers whose product is judged by plugin metrics alone. */
  readonly dataset: Dataset | undefined;
  readonly teacher: { readonly teacher: Teacher; readonly name: string } | undefined;
  readonly generators: readonly { readonly generator: LoadedGenerator; readonly name: string }[];
  readonly onProgress: (line: string) => void;
}

/** A row of the plugins' metrics. */
export interface PluginRow {
  readonly method: string;
  readonly steps: number;
  readonly samplesPerSecond: number;
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
  const { config, dataset, teacher, generators } = task;
  const definition = teacher?.teacher ?? generators[0]?.generator.definition;
  if (!definition) throw new OptionError('eval: name a teacher or a generator', { hint: 'dimo eval --help' });
  const metrics = selectMetrics(task);
  const extractor = definition.decoder && dataset ? await loadExtractor(dataset, task) : undefined;
  if (!extractor && metrics.length === 0)
    throw new OptionError(
      `eval: there is no feature network for ${dataset ? `the dataset ${dataset.name}` : 'this teacher'}, and no plugin adds a metric`,
      { hint: 'add a plugin with metrics, or choose the dataset mnist or fashion-mnist' },
    );
  const reference = extractor && dataset ? await loadReference(dataset, extractor, task) : undefined;
  const conditions = await evaluationConditions(definition, config.eval.count, dataset);
  const methods = [
    ...(teacher ? config.eval.teacherSteps.map((steps) => teacherMethod(teacher, steps, task)) : []),
    ...generators.map((entry) => generatorMethod(entry, task)),
  ];
  const rows: EvaluationRow[] = [];
  const pluginRows: PluginRow[] = [];
  const grids: { title: string; png: Uint8Array }[] = [];
  for (const method of methods) {
    const measured = await measure(method, { task, extractor, reference, conditions, metrics });
    if (measured.row) rows.push(measured.row);
    if (measured.pluginRow) pluginRows.push(measured.pluginRow);
    if (measured.grid) grids.push({ title: `${method.name}, ${plural(method.steps, 'step')}`, png: measured.grid });
  }
  return { rows, pluginRows, grids, notes: notesOf(task, extractor) };
}

interface Method {
  readonly name: string;
  readonly steps: number;
  open(): Promise<Sampler>;
}

function teacherMethod({ teacher }: { teacher: Teacher }, steps: number, { engine, config }: EvaluationTask): Method {
  const { batchSize } = config.eval;
  return {
    name: 'teacher',
    steps,
    open: () => teacherSampler(engine, teacher, { batchSize, sampler: { numSteps: steps } }),
  };
}

function generatorMethod(
  { generator, name }: EvaluationTask['generators'][number],
  { engine, config, generators }: EvaluationTask,
): Method {
  const { batchSize } = config.eval;
  const { sampling, tokenInit } = samplingOf(generator, config.sample);
  return {
    name: [
      generators.length > 1 ? `generator ${name}` : 'generator',
      ...(sampling.temperature === 1 ? [] : [`temperature ${sampling.temperature}`]),
      ...(config.sample.embeddingNoise === undefined ? [] : [`embedding noise ${tokenInit.embeddingNoise}`]),
    ].join(', '),
    steps: 1,
    open: () => generatorSampler(engine, generator, { batchSize, sampling, tokenInit }),
  };
}

interface MeasureContext {
  readonly task: EvaluationTask;
  readonly extractor: FeatureExtractor | undefined;
  readonly reference: EvaluationReference | undefined;
  readonly conditions: NamedConditions & { readonly labels: readonly string[]; readonly ids?: HostTensor<'int32'> };
  readonly metrics: readonly MetricPlugin[];
}

async function measure(
  method: Method,
  { task, extractor, reference, conditions, metrics }: MeasureContext,
): Promise<{ row?: EvaluationRow; pluginRow?: PluginRow; grid?: Uint8Array }> {
  const { config, engine } = task;
  const { count, seeds, precisionNeighbors, densityNeighbors } = config.eval;
  const sampler = await method.open();
  const rows: EvaluationRow[] = [];
  const pluginRows: PluginRow[] = [];
  let grid: Uint8Array | undefined;
  try {
    // Compiles and warms up, so that the rate is that of the sampler.
    const first = await conditionsFor(definitionOf(task).conditions, Math.min(count, config.eval.batchSize), {
      seed: 0,
    });
    const warm = await sampler.tokens(first.condition, 0);
    await sampler.images?.(warm);
    for (const seed of seeds) {
      task.onProgress(`${method.name}, ${plural(method.steps, 'step')}: ${count} samples, seed ${seed} ...`);
      const started = performance.now();
      const tokens = await sampler.tokens(conditions.condition, seed);
      const images = await sampler.images?.(tokens);
      const perSecond = count / ((performance.now() - started) / 1000);
      if (metrics.length > 0) {
        const values: Record<string, number> = {};
        for (const metric of metrics)
          values[metric.name] = await metric.compute({
            tokens,
            condition: conditions.condition,
            ...(images ? { images } : {}),
          });
        pluginRows.push({ method: method.name, steps: method.steps, samplesPerSecond: perSecond, metrics: values });
      }
      if (!images) continue;
      grid ??= gridOf(images, conditions.ids, extractor?.numClasses ?? 0);
      if (extractor && reference)
        rows.push(
          await evaluateSamples({
            engine,
            extractor,
            reference,
            images,
            ...(conditions.ids ? { labels: conditions.ids } : {}),
            method: method.name,
            steps: method.steps,
            imagesPerSecond: perSecond,
            precisionNeighbors,
            densityNeighbors,
          }),
        );
    }
  } finally {
    await sampler.dispose();
  }
  return {
    ...(rows.length > 0 ? { row: meanRow(rows) } : {}),
    ...(pluginRows.length > 0 ? { pluginRow: meanPluginRow(pluginRows) } : {}),
    ...(grid ? { grid } : {}),
  };
}

function definitionOf({ teacher, generators }: EvaluationTask) {
  return teacher?.teacher ?? generators[0]!.generator.definition;
}

/** Six rows of every class, or a square where there are no classes. */
function gridOf(images: HostTensor<'float32'>, ids: HostTensor<'int32'> | undefined, numClasses: number): Uint8Array {
  if (ids && numClasses > 1 && numClasses <= 32)
    return encodeGrid(arrangeByClass(images, ids.data, { numClasses, rows: 6 }), numClasses).png;
  const count = Math.min(64, images.shape[0]!);
  const size = images.data.length / images.shape[0]!;
  const some = { ...images, shape: [count, ...images.shape.slice(1)], data: images.data.subarray(0, count * size) };
  return encodeGrid(some, Math.ceil(Math.sqrt(count))).png;
}

/**
 * Conditions of an evaluation: where the teacher's classes are those of the dataset, the labels of test images in random
 * order, so that the mix of classes is the real one; else all classes in turn.
 */
async function evaluationConditions(
  { conditions }: Pick<Teacher, 'conditions'>,
  count: number,
  dataset: Dataset | undefined,
): Promise<MeasureContext['conditions']> {
  const { classNames } = conditions;
  if (!dataset || classNames?.length !== dataset.classNames.length)
    return conditionsFor(conditions, count, { seed: 0 });
  const order = randomStream(0, 0, 'evaluation/labels').permutation(dataset.test.count);
  const ids = Int32Array.from({ length: count }, (_, i) => dataset.test.labels.data[order[i % order.length]!]!);
  const labels = Array.from(ids, String);
  return {
    condition: await conditions.parse(labels),
    labels,
    numDifferent: classNames.length,
    ids: int32([count], ids),
  };
}

/** Metrics that were asked for by name; without names, all of them for teachers without images. */
function selectMetrics({ config, registry, dataset }: EvaluationTask): MetricPlugin[] {
  const { metrics } = config.eval;
  if (metrics.length === 0) return dataset ? [] : [...registry.metrics.values()];
  return metrics.map((name) => {
    const metric = registry.metrics.get(name);
    if (metric) return metric;
    throw new OptionError(
      `eval.metrics: no plugin provides the metric "${name}"; known are ${[...registry.metrics.keys()].join(', ') || 'none'}`,
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
  return {
    ...rows[0]!,
    samplesPerSecond: mean((row) => row.samplesPerSecond),
    metrics: Object.fromEntries(names.map((name) => [name, mean((row) => row.metrics[name]!)])),
  };
}

function notesOf({ config, dataset, engine }: EvaluationTask, extractor: FeatureExtractor | undefined): string[] {
  const { count, seeds, precisionNeighbors, densityNeighbors } = config.eval;
  const seedText = seeds.length > 1 ? `, mean of ${seeds.length} sampling seeds` : '';
  return [
    `${count} samples a row${seedText}, engine ${engine.info.name} (${engine.info.device})`,
    ...(extractor && dataset
      ? [
          `FID against all ${dataset.train.count} training images of ${dataset.name}, in the features of ${extractor.name}; compare only rows of one table`,
          `precision and recall with k = ${precisionNeighbors}, density and coverage with k = ${densityNeighbors}`,
        ]
      : []),
  ];
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
