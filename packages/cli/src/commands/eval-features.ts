/** `dimo eval --features`: metrics in the features of an ONNX network, against statistics, pictures or an archive. */
import { OptionError, type Engine } from '@dimo/core';
import { chooseFeatureMetrics, type FeatureReference } from '@dimo/eval';
import { join } from 'node:path';
import { refuseTyped } from '../config/ineffective.js';
import { evaluationText, writeEvaluation } from '../evaluation/files.js';
import { openCaptionNetwork } from '../features/caption-features.js';
import { evaluateFeatures, type FeatureEvaluation } from '../features/evaluate-features.js';
import type { ExtractContext } from '../features/extract.js';
import { openNetwork } from '../features/open-network.js';
import { readCaptions } from '../features/captions.js';
import { loadFeatureReference } from '../features/statistics-file.js';
import { exitOk } from '../output/failure.js';
import { print, printError, printJson } from '../output/terminal.js';
import { openEngine, type Project } from '../project/session.js';

/** What was typed about features. */
export interface FeatureArguments {
  /** ONNX file of the feature network. */
  readonly features: string | undefined;
  readonly network: string | undefined;
  /** Archive or folder. */
  readonly reference: string | undefined;
  /** Pictures to measure. */
  readonly images: readonly string[];
  readonly metrics: readonly string[];
  readonly captions: string | undefined;
  /** ONNX file of a text network. */
  readonly text: string | undefined;
  readonly work: string | undefined;
}

/** What is sampled, and where the numbers go. */
export interface FeatureTask extends Pick<FeatureEvaluation, 'teacher' | 'generators'> {
  readonly project: Project;
  /** Folder for the numbers where no file was named. */
  readonly folder: string;
  readonly out: string | undefined;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Not `eval.json`: that of a run holds the metrics by its own judge. */
const fileName = 'eval-features.json';
/** Settings of samples. */
const samplingKeys = ['engine.name', 'eval.count', 'eval.seeds', 'eval.teacherSteps', 'sampler', 'sample'];

/** @throws OptionError if something about features was typed that has no effect without `--features` */
export function refuseWithoutFeatures(typed: FeatureArguments): void {
  const given: readonly (readonly [flag: string, isGiven: boolean])[] = [
    ['--network', typed.network !== undefined],
    ['--reference', typed.reference !== undefined],
    ['--images', typed.images.length > 0],
    ['--feature-metrics', typed.metrics.length > 0],
    ['--captions', typed.captions !== undefined],
    ['--text', typed.text !== undefined],
    ['--work', typed.work !== undefined],
  ];
  const found = given.find(([, isGiven]) => isGiven);
  if (found)
    throw new OptionError(`${found[0]} has no effect without --features`, {
      hint: 'name the ONNX file of a feature network with --features',
    });
}

/** Measures, writes the numbers, prints the table. */
export async function evaluateByFeatures(typed: FeatureArguments, task: FeatureTask): Promise<number> {
  const { project, teacher, generators, folder, quiet, json } = task;
  const { config, registry } = project;
  const isSampled = teacher !== undefined || generators.length > 0;
  refuseTyped(project, ['dataset', 'eval.metrics', 'eval.prompts', 'eval.judge'], 'with --features it is not read');
  if (!isSampled) refuseTyped(project, samplingKeys, 'no model is measured; name one with --model or --teacher');
  if (!isSampled && typed.images.length === 0)
    throw new OptionError('eval: there is nothing to measure', {
      hint: 'name a model with --model or --teacher, or pictures with --images',
    });
  if (typed.text !== undefined && typed.captions === undefined)
    throw new OptionError('--text has no effect without --captions: the CLIP score compares pictures with captions');
  const captions = typed.captions === undefined ? [] : await readCaptions(typed.captions);
  const note = (line: string): void => void (quiet || printError(line));
  const { threads } = config.engine;
  const open = await openNetwork({ features: typed.features!, network: typed.network, threads });
  const closing: (() => Promise<void>)[] = [() => open.dispose()];
  try {
    const captionNetwork = typed.text === undefined ? undefined : await openCaptionNetwork(typed.text, threads);
    if (captionNetwork) closing.push(() => captionNetwork.dispose());
    const context: ExtractContext = {
      ...{ open, work: typed.work, quiet, onNote: note },
      ...{ batchSize: config.eval.batchSize, everySeconds: config.log.everySeconds },
    };
    const reference: FeatureReference =
      typed.reference === undefined
        ? { name: 'the reference (none is named with --reference)' }
        : await loadFeatureReference(typed.reference, { features: wantsSamples(typed.metrics) }, context);
    const metrics = metricsOf(typed, reference, context);
    if (metrics.length === 0 && !captionNetwork)
      throw new OptionError('eval: no metric can be computed from these files', {
        hint: 'name a reference with --reference, or a network with classes',
      });
    let engine: Engine | undefined;
    if (isSampled) {
      const chosen = await openEngine(config.engine, registry);
      engine = chosen.engine;
      closing.push(() => chosen.engine.dispose());
      note(chosen.explanation);
    }
    const rows = await evaluateFeatures({
      ...{ engine, config, registry, teacher, generators, images: typed.images, reference, metrics },
      ...{ captions, captionNetwork, context },
    });
    const notes = notesOf(typed, context, { reference, config });
    const out = task.out ?? join(folder, fileName);
    const evaluation = { rows, pluginRows: [], notes, grids: [] };
    await writeEvaluation(out, evaluation, engine ? { ...engine.info } : {});
    if (json) printJson({ out, rows, notes });
    else print(`${evaluationText(evaluation)}\nwritten: ${out}`);
    return exitOk;
  } finally {
    for (const close of closing.reverse()) await close();
  }
}

/** Whether the features of single reference images are worth computing. */
function wantsSamples(metrics: readonly string[]): boolean {
  return metrics.length === 0 || metrics.includes('neighbors') || metrics.includes('cmmd');
}

function metricsOf(typed: FeatureArguments, reference: FeatureReference, { open }: ExtractContext) {
  const { description } = open.network;
  return chooseFeatureMetrics(
    typed.metrics,
    {
      hasStatistics: reference.statistics !== undefined,
      hasSpatialStatistics: reference.spatialStatistics !== undefined,
      hasFeatures: reference.features !== undefined,
      hasProbabilities: description.logits !== undefined || description.probabilities !== undefined,
      hasSpatial: description.spatial !== undefined,
      isNormalized: description.normalize,
    },
    reference.name,
  );
}

/** What the numbers depend on. */
function notesOf(
  typed: FeatureArguments,
  { open }: ExtractContext,
  { reference, config }: { readonly reference: FeatureReference; readonly config: Project['config'] },
): string[] {
  const { name, size, resize, rounds } = open.network.description;
  const { precisionNeighbors, densityNeighbors } = config.eval;
  const { statistics, features } = reference;
  const resizing = size ? `resized to ${size.join(' x ')} (${resize}${rounds ? ', rounded' : ''})` : 'not resized';
  return [
    `features of ${name} (${typed.features}), images ${resizing}`,
    ...(statistics
      ? [`FID against ${reference.name}${statistics.count === undefined ? '' : `, ${statistics.count} images`}`]
      : []),
    ...(features
      ? [
          `precision and recall with k = ${precisionNeighbors}, density and coverage with k = ${densityNeighbors}, against ${features.rows} images`,
        ]
      : []),
  ];
}
