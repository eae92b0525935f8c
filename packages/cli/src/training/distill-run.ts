/** A distillation in a run folder: `dimo distill`, and the first part of `dimo demo`. */
import { sha256OfContent, type RunFolder } from '@dimo/backend-node';
import {
  compileMultiStep,
  compileOneStep,
  describeGenerator,
  deviceTensors,
  drawsVersion,
  sampleMultiStep,
  recomputeBlocks,
  sampleOneStep,
  sequenceLength,
  selectTensors,
  specsOf,
  streamGeneratorFiles,
  streamSafetensors,
  type DeviceTree,
  type DistilledGenerator,
  type Engine,
  type HostTree,
  type HostTensor,
  type PluginRegistry,
  type PreparedDistillation,
  type SamplerRegistry,
  type SamplingOptions,
  type StepReport,
  type Teacher,
  type TrainingEnd,
} from '@dimo/core';
import { dirname, join, resolve } from 'node:path';
import type { DimoConfig } from '../config/schema.js';
import {
  distillationConditions,
  readDistillationPrompts,
  type DistillationConditions,
} from './distillation-conditions.js';
import { distilledCard } from './distill-card.js';
import { configuredDistillation, warmupNote } from './distillation-settings.js';
import { isSampleStep, samplesOfStep, writeSampleGrid } from './sample-grids.js';
import { watchHealth, type FinalSamples, type Health } from '../run/health.js';
import { writeModelCard } from '../models/model-card-file.js';
import { findTeacher, type FoundTeacher } from '../models/models.js';
import { folderInRun, writeFileAtomically } from '../run/folder.js';
import { runEndOf } from '../run/health-file.js';
import { checkRunFits, type Recompute } from '../run/run-needs.js';
import { sharedFileBytes, sharedFolderName, writeSharedFile } from '../run/shared-files.js';
import { trainRun, type StepTools, type TrainRunResult } from '../run/train-run.js';
import { printError } from '../output/terminal.js';
import { conditionsFor, openDecoder } from '@dimo/pipeline';
import { version } from '../version.js';

/** What a distillation needs. */
export interface DistillTask {
  readonly config: DimoConfig;
  readonly found: FoundTeacher;
  /** Of the teacher, on the engine; disposed at the end. */
  readonly conditions: DistillationConditions;
  readonly registry: PluginRegistry;
  readonly recompute: Recompute;
  /** The memory of the teacher's weights may move to the device: they are not needed afterwards. @default false */
  readonly moveState?: boolean;
  readonly engine: Engine;
  readonly run: RunFolder;
  readonly resume: boolean;
  readonly resumeOverride: readonly string[];
  readonly quiet: boolean;
}

/** A finished or stopped distillation. */
export interface DistillResult extends TrainRunResult {
  /** Folder of the generator: the average of the weights as of the last step. */
  readonly generatorFolder: string;
  readonly health: Health;
}

/** Name of the generator's folder in a run. */
export const generatorFolderName = 'generator';

/** What a distillation needs beside a folder. */
export type DistillInputs = Pick<DistillTask, 'found' | 'conditions' | 'registry' | 'recompute'>;

/** What a check is told. */
export interface DistillationCheck {
  /** Called with what a person should know about the inputs, and about what the run needs. */
  readonly onNote: (line: string) => void;
  /** Folder of the run, if it is continued. */
  readonly resume?: string | undefined;
  /** Memory of a step by the plan, if that is known. */
  readonly stepBytes: (config: DimoConfig, found: FoundTeacher, recompute: Recompute) => Promise<number | undefined>;
}

/**
 * Reads and checks everything that a distillation needs, before it makes its folder.
 *
 * @returns what makes the rest on an engine.
 * @throws OptionError, WeightError naming the input at fault; DimoError if this machine cannot hold the run.
 */
export async function checkDistillation(
  config: DimoConfig,
  registry: PluginRegistry,
  { onNote, resume, stepBytes }: DistillationCheck,
): Promise<(engine: Engine) => Promise<DistillInputs>> {
  const found = await findTeacher(config.teacher, registry);
  const prompts = await readDistillationPrompts(config, found.teacher);
  for (const note of prompts.notes) onNote(note);
  const warning = config.distill.algorithm === 'dimo' ? warmupNote('distill', config.distill) : undefined;
  if (warning !== undefined) onNote(warning);
  return async (engine) => {
    const conditions = await distillationConditions(config, found.teacher, prompts, engine);
    // Says what is wrong with the settings; the run makes its own.
    const { program, frozen } = configuredDistillation(config, registry, conditions);
    const { notes, recompute } = await checkRunFits({
      engine: engine.info.name,
      config,
      state: specsOf(program.initialState()),
      frozen,
      resume,
      recompute: config.distill.recompute,
      tokens: config.distill.batchSize * sequenceLength(found.teacher.model.tokenSpace),
      stepBytes: (how) => stepBytes(config, found, how),
    });
    notes.forEach(onNote);
    return { found, conditions, registry, recompute };
  };
}

/** Distils; when this returns, checkpoint and generator are on the disk, also after a stop request. */
export async function distillRun(task: DistillTask): Promise<DistillResult> {
  try {
    return await distillWith(task);
  } finally {
    await task.conditions.dispose();
  }
}

async function distillWith(given: DistillTask): Promise<DistillResult> {
  const { conditions } = given;
  const { teacher } = conditions;
  const task: DistillTask = { ...given, found: { ...given.found, teacher } };
  const { config, engine, run } = task;
  const distillation = configuredDistillation(config, task.registry, conditions);
  const health = watchHealth(distillation.program.numSteps);
  const samples = sampleWriter(distillation, task, conditions.prompts);
  try {
    const result = await trainRun({
      label: 'distil',
      unit: teacher.decoder ? 'images/s' : 'sequences/s',
      program: (task.recompute === 'blocks' ? recomputeBlocks(distillation.program) : distillation.program) as never,
      moveState: task.moveState ?? false,
      engine,
      run,
      config,
      identity: {
        config: { ...(await identityOf(config, teacher)), ...conditions.identity },
        seed: config.seed,
        engine: engine.info.name,
        version,
      },
      resume: task.resume,
      resumeOverride: task.resumeOverride,
      quiet: task.quiet,
      frozen: distillation.frozen ?? [],
      maxSkipped: config.distill.maxSkipped,
      shown: [
        ['generator/divergence', 'divergence'],
        ['auxiliary/loss', 'auxiliary'],
        ['generator/totalVariation', 'variation'],
        ['generator/tokenEntropy', 'entropy'],
        ['loss', 'loss'],
      ],
      observe: (step, metrics) => health.observe(step, metrics),
      async onStep(report, tools) {
        if (isSampleStep(report.step, config.distill)) await samples.write(report, tools);
      },
      finish: (end) => writeGenerator(task, distillation, end),
    });
    const finalSamples = result.stopped ? undefined : samples.last();
    return { ...result, generatorFolder: result.made, health: health.verdict(runEndOf(result), finalSamples) };
  } finally {
    await samples.dispose();
  }
}

/** The settings that change the numbers of a run, and what it starts from. */
async function identityOf(config: DimoConfig, teacher: Teacher): Promise<Record<string, unknown>> {
  const {
    sampleEvery: _sampleEvery,
    maxSkipped: _maxSkipped,
    prompts: _prompts,
    recompute: _recompute,
    preset: _preset,
    ...distill
  } = config.distill;
  const weights = await sha256OfContent(streamSafetensors(teacher.weights));
  return { draws: drawsVersion, distill, teacher: { name: teacher.name, config: teacher.config, weights } };
}

/** Grids (or sequences) of the averaged generator, with the same conditions and random numbers at every step. */
function sampleWriter(
  { generator }: PreparedDistillation,
  { config, found, engine, run, registry }: DistillTask,
  prompts: readonly string[],
) {
  const { teacher } = found;
  const count = 64;
  let ready: Awaited<ReturnType<typeof prepare>> | undefined;
  let last: FinalSamples | undefined;

  async function prepare() {
    const compiled = await compileGenerator(engine, teacher, generator, {
      batchSize: count,
      sampling: config.distill.sampling,
      samplers: registry.samplers,
    });
    const decoder = await openDecoder(engine, teacher, teacher.decoderWeights, { batchSize: count });
    const conditions = await conditionsFor(teacher.conditions, count, {
      prompts: prompts.slice(0, count),
      seed: config.seed,
    });
    const folder = await folderInRun(run.path, 'samples');
    return { folder, compiled, decoder, conditions };
  }

  return {
    async write(report: StepReport, tools: StepTools): Promise<void> {
      ready ??= await prepare();
      const { folder, compiled, decoder, conditions } = ready;
      const tokens = await compiled.sample(report.deviceState, conditions.condition, config.seed);
      const length = tokens.shape[1]!;
      const rows = Array.from({ length: count }, (_, i) => [...tokens.data.subarray(i * length, (i + 1) * length)]);
      last = { rows, conditions: conditions.labels };
      if (!decoder) {
        const named = rows.map((row, i) => ({ condition: conditions.labels[i] ?? '', tokens: row }));
        await writeFileAtomically(`${samplesOfStep(folder, report.step)}.json`, `${JSON.stringify(named)}\n`);
        return;
      }
      const images = await decoder.images(tokens);
      await writeSampleGrid(folder, report.step, { images, numDifferent: conditions.numDifferent }, tools);
    },
    /** The newest samples. */
    last: () => last,
    async dispose(): Promise<void> {
      await ready?.compiled.dispose();
      await ready?.decoder?.dispose();
    },
  };
}

/** The generator in the state of its training, ready to be sampled: in one pass, or in those of its sampler. */
async function compileGenerator(
  engine: Engine,
  teacher: Teacher,
  { model, weights: state, sampling: how }: DistilledGenerator,
  {
    batchSize,
    sampling,
    samplers,
  }: { readonly batchSize: number; readonly sampling: SamplingOptions; readonly samplers: SamplerRegistry },
): Promise<{
  sample(weights: DeviceTree, condition: HostTree, seed: number): Promise<HostTensor<'int32'>>;
  dispose(): Promise<void>;
}> {
  if (how.tokenInit) {
    const compiled = await compileOneStep(engine, model, { batchSize, tokenInit: how.tokenInit, sampling, state });
    return {
      sample: (weights, condition, seed) => sampleOneStep(compiled, { weights, condition, seed }),
      dispose: () => compiled.dispose(),
    };
  }
  const definition = { ...teacher, model, sampler: how.sampler };
  const compiled = await compileMultiStep(engine, definition, { batchSize, state, samplers });
  return {
    sample: (weights, condition, seed) => sampleMultiStep(compiled, model, { weights, condition, seed }),
    dispose: () => compiled.dispose(),
  };
}

/** Writes the self-contained generator folder: the averaged weights under their original names, and the decoder. */
async function writeGenerator(
  { config, found, run, engine, registry, quiet }: DistillTask,
  distillation: PreparedDistillation,
  { step, deviceState }: TrainingEnd,
): Promise<string> {
  const { teacher } = found;
  const description = describeGenerator(teacher, distillation, {
    training: {
      steps: step,
      batchSize: config.distill.batchSize,
      seed: config.seed,
      teacher: found.name,
      engine: engine.info.name,
      dimo: version,
    },
    ...(config.sample.temperature === undefined ? {} : { temperature: config.sample.temperature }),
  });
  // Where each tensor of the generator is in the state.
  const names = distillation.generator.weights.weights(
    Object.fromEntries(Object.keys(deviceState.specs).map((name) => [name, name])),
  );
  const conditionFiles = teacher.conditionFiles?.() ?? {};
  const files = streamGeneratorFiles({
    description,
    weights: selectTensors(deviceTensors(deviceState), names),
    ...(teacher.decoderWeights ? { decoderWeights: teacher.decoderWeights } : {}),
    conditionFiles,
  });
  const folder = await folderInRun(run.path, generatorFolderName);
  const store = join(dirname(resolve(run.path)), sharedFolderName);
  const note = await writeModelCard(folder, await distilledCard({ config, found, description, registry }));
  if (note !== undefined && !quiet) printError(note);
  // The description last: a folder without it is not taken for a generator.
  for (const [name, content] of Object.entries(files).reverse()) {
    const path = join(folder, name);
    const isShared = config.run.shareFiles && name in conditionFiles && content.length >= sharedFileBytes;
    if (isShared) await writeSharedFile(path, content, store);
    else await writeFileAtomically(path, content);
  }
  return folder;
}
