/** `dimo train teacher`: a masked diffusion model on tokens, of images or of a token dataset. */
import {
  drawsVersion,
  checkTexts,
  gatherRows,
  OptionError,
  prepareTeacher,
  recomputeBlocks,
  sha256Hex,
  teacherDescriptionName,
  teacherTrainingProgram,
  teacherTrainingResult,
  withPrefix,
  type DatasetSplit,
  type Engine,
  type HostTensor,
  type HostTree,
  type SpecTree,
  type Teacher,
  type TeacherDefinition,
  type TeacherPlugin,
  type TextLine,
  type TokenDataset,
  type TrainingEnd,
} from '@dimo/core';
import { folderWeightSource } from '@dimo/backend-node';
import { join } from 'node:path';
import { mergedSections } from '../config/load.js';
import type { DimoConfig } from '../config/schema.js';
import { datasetName, findTokenDataset, requireDataset } from '../project/datasets.js';
import { teacherTrainingOptions, warmupNote } from '../training/distillation-settings.js';
import { trainedTeacherPlugin } from '../models/models.js';
import type { TrainingFlags } from '../flags/training-flags.js';
import { teacherHealth, type Health } from '../run/health.js';
import { checkRunFits } from '../run/run-needs.js';
import { folderInRun, writeFileAtomically } from '../run/folder.js';
import { runEndOf } from '../run/health-file.js';
import { resolvePart } from '../run/parts.js';
import { tellUnfinished } from '../run/tell-unfinished.js';
import { trainRun, type TrainRunResult } from '../run/train-run.js';
import type { Project } from '../project/session.js';
import { teacherFolderFiles } from '../models/teacher-folder.js';
import { shellQuoted } from '../flags/resume-command.js';
import { datasetFlag } from '../training/dataset-facts.js';
import { openInitialState, tellInitialState, type Told } from '../training/initial-state.js';
import { isSampleStep } from '../training/sample-grids.js';
import { teacherSamples } from '../training/teacher-samples.js';
import { withTeacherPreset } from '../training/picture-project.js';
import { runTrainingCommand, type TrainingSession } from '../training/train-command.js';
import { printError } from '../output/terminal.js';
import { version } from '../version.js';

interface TeacherResult extends TrainRunResult {
  readonly folder: string;
  readonly health: Health;
}

/** What a teacher is trained on. */
interface TeacherData {
  readonly plugin: TeacherPlugin;
  readonly definition: TeacherDefinition;
  readonly tokens: HostTensor<'int32'>;
  readonly condition: HostTree;
  readonly decoderWeights?: HostTree;
}

/** Trains a teacher, or continues. */
export function trainTeacher(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<TeacherResult, TeacherData>({
    name: 'train teacher',
    flags,
    complete: withTeacherPreset(flags.quiet),
    fallbackName: ({ config }) => `teacher-${datasetName(config.dataset)}`,
    check: async (project) => {
      const onNote = (note: string | undefined) => {
        if (!flags.quiet && note !== undefined) printError(note);
      };
      const inputs = await checkInputs(project, { onNote, isNew: flags.resume === undefined });
      onNote(warmupNote('train.teacher', project.config.train.teacher));
      await tellUnfinished([project.config.train.teacher.tokenizer], flags);
      return async (engine) => {
        const data = await inputs(engine);
        const { parameters } = data.definition.model;
        // As `teacherTrainingProgram` makes it, without drawing the first weights.
        const parts = ['teacher', 'ema', 'optimizer/m', 'optimizer/v'].map((part) => withPrefix(part, parameters));
        const state = Object.assign({}, ...parts) as SpecTree;
        const { config } = project;
        const { notes } = await checkRunFits({ engine: engine.info.name, config, state, resume: flags.resume });
        notes.forEach(onNote);
        return data;
      };
    },
    train: (session, data) => train(session, data, flags),
    health: ({ health }) => health,
    // Of a folder of pictures the distillation finds its teacher, and takes the length that goes with its preset.
    describe: ({ folder }, session) => [
      `teacher ${folder}; next: dimo distill${datasetFlag(session) || ` --teacher ${shellQuoted(folder)}`}`,
    ],
    facts: ({ folder, counters }) => ({ teacher: folder, counters }),
  });
}

async function train(session: TrainingSession, data: TeacherData, flags: TrainingFlags): Promise<TeacherResult> {
  const { config, engine, run } = session;
  const { plugin, definition } = data;
  const training = teacherTrainingProgram(definition, data, teacherTrainingOptions(config));
  const { recompute, init, initWith, preset: _preset, sampleEvery: _sampleEvery, ...settings } = config.train.teacher;
  const program = recompute === 'blocks' ? recomputeBlocks(training) : training;
  const losses: number[] = [];
  const samples = teacherSamples(
    {
      ...{ engine, run: run.path, samplers: session.project.registry.samplers },
      ...{ batchSize: settings.batchSize, seed: config.seed },
    },
    data,
  );
  const result = await trainRun({
    label: 'train teacher',
    unit: definition.decoder ? 'images/s' : 'sequences/s',
    program,
    engine,
    run,
    config,
    identity: {
      config: {
        draws: drawsVersion,
        training: { ...settings, ...(init === undefined ? {} : { init, initWith }) },
        dataset: config.dataset,
        teacher: { name: plugin.name, config: definition.config },
        tokens: await sha256Hex(
          new Uint8Array(data.tokens.data.buffer, data.tokens.data.byteOffset, data.tokens.data.byteLength),
        ),
      },
      seed: config.seed,
      engine: engine.info.name,
      version,
    },
    resume: session.resume,
    ...(init === undefined
      ? {}
      : { start: () => openInitialState({ ...config.train.teacher, init }, definition.model, training) }),
    resumeOverride: flags.resumeOverride,
    quiet: flags.quiet,
    shown: [
      ['loss', 'loss'],
      ['maskedNll', 'nll'],
      ['learningRate', 'lr'],
    ],
    observe(_step, metrics) {
      losses.push(metrics['maskedNll'] ?? NaN);
      return [];
    },
    async onStep(report, tools) {
      if (isSampleStep(report.step, config.train.teacher)) await samples.write(report, tools);
    },
    finish: (end) => writeTeacher(session, data, end),
  }).finally(() => samples.dispose());
  const { codebookSize } = definition.model.tokenSpace;
  const health = teacherHealth(runEndOf(result), {
    first: meanOf(losses.slice(0, 10)),
    last: meanOf(losses.slice(-50)),
    frequencies: frequencyEntropy(data.tokens.data),
    numTokens: codebookSize,
  });
  return { ...result, folder: result.made, health };
}

/** Writes the teacher's folder: the averaged weights, without a second copy of what else was trained. */
async function writeTeacher(
  { config, engine, run }: TrainingSession,
  { plugin, definition, decoderWeights }: TeacherData,
  { step, deviceState }: TrainingEnd,
): Promise<string> {
  const trained = teacherTrainingResult(definition);
  const teacher: Teacher = {
    ...definition,
    weights: trained.weights(await deviceState.download(Object.keys(trained.specs))),
    ...(decoderWeights ? { decoderWeights } : {}),
  };
  const files = teacherFolderFiles(teacher, plugin, {
    steps: step,
    seed: config.seed,
    dataset: datasetName(config.dataset),
    engine: engine.info.name,
    dimo: version,
  });
  const place = await folderInRun(run.path, 'teacher');
  // The description last: a folder without it is not taken for a teacher.
  const names = Object.keys(files).filter((name) => name !== teacherDescriptionName);
  for (const name of [...names, teacherDescriptionName]) await writeFileAtomically(join(place, name), files[name]!);
  return place;
}

function meanOf(values: readonly number[]): number {
  const finite = values.filter((value) => Number.isFinite(value));
  return finite.reduce((sum, value) => sum + value, 0) / finite.length;
}

/** Entropy of the tokens by their frequencies alone, nats: what a model that looks at nothing reaches. */
function frequencyEntropy(tokens: Int32Array): number {
  const counts = new Map<number, number>();
  for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  return [...counts.values()].reduce((sum, count) => {
    const part = count / tokens.length;
    return sum - part * Math.log(part);
  }, 0);
}

/** Reads and checks what a teacher is trained on; the rest needs an engine: tokens of images, conditions of texts. */
async function checkInputs(
  { config, registry }: Project,
  told: Told,
): Promise<(engine: Engine) => Promise<TeacherData>> {
  const { onNote } = told;
  const plugin = trainedTeacherPlugin(config, registry);
  const given = mergedSections(config.teacher.config, config.train.teacher.config);
  const tokenData = await findTokenDataset({ config, registry });
  if (tokenData) return checkTokenData(config, { plugin, given, tokenData, told });
  const { encodeImages, readTokenizer } = await import('@dimo/tokenizers');
  const source = config.train.teacher.tokenizer;
  if (source === undefined)
    throw new OptionError('train teacher: a dataset of images needs a tokenizer', {
      hint: `run \`dimo train tokenizer --dataset ${config.dataset}\` first, then give its folder with --tokenizer`,
    });
  const tokenizer = await readTokenizer(folderWeightSource(await resolvePart(source, ['tokenizer', 'teacher'])));
  const [height, width, channels] = tokenizer.tokenizer.imageShape;
  const dataset = await requireDataset({ config, registry }, { imageShape: [height, width, channels] });
  const { classNames } = dataset;
  const complete = plugin.completeConfig?.(given, { classNames, tokenizer: tokenizer.config }) ?? given;
  const definition = await define(config, plugin, complete);
  await tellInitialState(config, definition, told);
  const decoder = definition.decoder ?? tokenizer.tokenizer;
  if (decoder.imageShape.join() !== dataset.imageShape.join())
    throw new OptionError(
      `train.teacher.tokenizer: ${source} is for images [${decoder.imageShape.join(', ')}], ${dataset.name} has [${dataset.imageShape.join(', ')}]`,
      { path: source, hint: `train one for it: dimo train tokenizer --dataset ${config.dataset}` },
    );
  const canCheck = definition.conditions.check !== undefined || definition.prepareConditions === undefined;
  const captions = canCheck ? textsOf(dataset.train) : [];
  const cut = await checkTexts(definition.conditions, captions, `${dataset.name} (text)`);
  if (cut.length > 0)
    onNote(
      `${cut.length} of ${captions.length} texts of ${dataset.name} are longer than the model reads: only their beginning counts`,
    );
  return async (engine) => {
    onNote(`encoding ${dataset.train.count} images of ${dataset.name} ...`);
    const tokens = await encodeImages(engine, { decoder, weights: tokenizer.weights, images: dataset.train });
    const { tokens: rows, texts } = describedSequences(dataset.train, tokens);
    const prepared = await prepareTeacher(engine, definition);
    try {
      return {
        plugin,
        definition: { ...prepared.teacher, conditions: definition.conditions },
        tokens: rows,
        condition: await prepared.teacher.conditions.parse(texts),
        decoderWeights: tokenizer.weights,
      };
    } finally {
      await prepared.dispose();
    }
  };
}

async function checkTokenData(
  config: DimoConfig,
  {
    plugin,
    given,
    tokenData,
    told,
  }: {
    plugin: TeacherPlugin;
    given: Readonly<Record<string, unknown>>;
    tokenData: TokenDataset;
    told: Told;
  },
): Promise<() => Promise<TeacherData>> {
  if (config.train.teacher.tokenizer !== undefined)
    throw new OptionError(`train.teacher.tokenizer has no effect: ${tokenData.name} is a dataset of tokens`, {
      hint: 'leave it out',
    });
  const definition = await define(config, plugin, given);
  const { codebookSize } = definition.model.tokenSpace;
  if (tokenData.codebookSize > codebookSize)
    throw new OptionError(
      `dataset ${tokenData.name} has ${tokenData.codebookSize} different tokens, the teacher "${plugin.name}" only ${codebookSize}`,
    );
  await tellInitialState(config, definition, told);
  return () => Promise.resolve({ plugin, definition, tokens: tokenData.tokens, condition: tokenData.condition });
}

/** The different texts of a dataset; the classes understand themselves. */
function textsOf({ texts }: DatasetSplit): TextLine[] {
  return [...new Set(texts?.flat() ?? [])].map((text, index) => ({ line: index + 1, text }));
}

/** The architecture; with the files that its conditions need, where a folder of them is named. */
function define(
  config: DimoConfig,
  plugin: TeacherPlugin,
  given: Readonly<Record<string, unknown>>,
): TeacherDefinition | Promise<TeacherDefinition> {
  const folder = config.train.teacher.conditions;
  if (folder === undefined) return plugin.define(given);
  if (!plugin.defineFrom)
    throw new OptionError(`train.teacher.conditions: the teacher "${plugin.name}" needs no files for its conditions`);
  return plugin.defineFrom(given, folderWeightSource(folder));
}

/** A row for every text of every image, where the dataset has texts; else one for each image, with its class. */
function describedSequences(
  { texts, labels }: DatasetSplit,
  tokens: HostTensor<'int32'>,
): { readonly tokens: HostTensor<'int32'>; readonly texts: readonly string[] } {
  if (!texts) return { tokens, texts: Array.from(labels.data, String) };
  const images = texts.flatMap((list, image) => list.map(() => image));
  return { tokens: gatherRows(tokens, images) as HostTensor<'int32'>, texts: texts.flat() };
}
