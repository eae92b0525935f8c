/** `dimo train teacher`: a masked diffusion model on tokens, of images or of a token dataset. */
import {
  gatherRows,
  OptionError,
  prepareTeacher,
  sha256Hex,
  teacherDescriptionName,
  teacherTrainingProgram,
  teacherTrainingResult,
  type DatasetSplit,
  type HostTensor,
  type HostTree,
  type Teacher,
  type TeacherDefinition,
  type TeacherPlugin,
} from '@dimo/core';
import { folderWeightSource } from '@dimo/backend-node';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { findTokenDataset, requireDataset } from '../datasets.js';
import { teacherTrainingOptions } from '../distillation-settings.js';
import { requireTeacherPlugin } from '../models.js';
import type { TrainingFlags } from '../program.js';
import { teacherHealth, type Health } from '../health.js';
import { writeFileAtomically } from '../run/folder.js';
import { runEndOf } from '../run/health-file.js';
import { resolvePart } from '../run/parts.js';
import { tellUnfinished } from '../tell-unfinished.js';
import { trainRun, type TrainRunResult } from '../run/train-run.js';
import { teacherFolderFiles } from '../teacher-folder.js';
import { shellQuoted } from '../resume-command.js';
import { runTrainingCommand, type TrainingSession } from '../train-command.js';
import { printError } from '../terminal.js';
import { version } from '../version.js';

interface TeacherResult extends TrainRunResult {
  readonly folder: string;
  readonly health: Health;
}

/** What a teacher is trained on. */
interface TeacherData {
  readonly definition: TeacherDefinition;
  readonly tokens: HostTensor<'int32'>;
  readonly condition: HostTree;
  readonly decoderWeights?: HostTree;
}

/** Trains a teacher, or continues. */
export function trainTeacher(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<TeacherResult>({
    name: 'train teacher',
    flags,
    fallbackName: ({ config }) => `teacher-${config.dataset}`,
    train: (session) => train(session, flags),
    health: ({ health }) => health,
    describe: ({ folder }) => [`teacher ${folder}; next: dimo distill --teacher ${shellQuoted(folder)}`],
    facts: ({ folder, counters }) => ({ teacher: folder, counters }),
  });
}

async function train(session: TrainingSession, flags: TrainingFlags): Promise<TeacherResult> {
  const { config, engine, run, project } = session;
  const plugin = requireTeacherPlugin(config.teacher.plugin ?? 'maskgit', project.registry);
  const data = await loadData(session, plugin, flags.quiet);
  const { definition } = data;
  const program = teacherTrainingProgram(definition, data, teacherTrainingOptions(config));
  const losses: number[] = [];
  const result = await trainRun({
    label: 'train teacher',
    unit: definition.decoder ? 'images/s' : 'sequences/s',
    program,
    engine,
    run,
    config,
    identity: {
      config: {
        training: config.train.teacher,
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
    resumeOverride: flags.resumeOverride,
    quiet: flags.quiet,
    shown: [
      ['loss', 'loss'],
      ['maskedNll', 'nll'],
      ['learningRate', 'lr'],
    ],
    onStep: ({ metrics }) => void losses.push(metrics['maskedNll'] ?? NaN),
  });
  // Picks names; host tensors do as well as device tensors.
  const pick = teacherTrainingResult(definition).weights as unknown as (state: HostTree) => HostTree;
  const teacher: Teacher = {
    ...definition,
    weights: pick(result.state),
    ...(data.decoderWeights ? { decoderWeights: data.decoderWeights } : {}),
  };
  const files = teacherFolderFiles(teacher, plugin, {
    steps: result.step,
    seed: config.seed,
    dataset: config.dataset,
    engine: engine.info.name,
    dimo: version,
  });
  const folder = join(run.path, 'teacher');
  await mkdir(folder, { recursive: true });
  // The description last: a folder without it is not taken for a teacher.
  const names = Object.keys(files).filter((name) => name !== teacherDescriptionName);
  for (const name of [...names, teacherDescriptionName]) await writeFileAtomically(join(folder, name), files[name]!);
  const { codebookSize } = definition.model.tokenSpace;
  const health = teacherHealth(runEndOf(result, teacher.weights), {
    first: meanOf(losses.slice(0, 10)),
    last: meanOf(losses.slice(-50)),
    frequencies: frequencyEntropy(data.tokens.data),
    numTokens: codebookSize,
  });
  return { ...result, folder, health };
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

/** Tokens, conditions and the architecture that fits them. */
async function loadData(session: TrainingSession, plugin: TeacherPlugin, quiet: boolean): Promise<TeacherData> {
  const { config, project } = session;
  const given = { ...config.teacher.config, ...config.train.teacher.config };
  const tokenData = await findTokenDataset(config.dataset, project.registry);
  if (tokenData) {
    const definition = await define(session, plugin, given);
    const { codebookSize } = definition.model.tokenSpace;
    if (tokenData.codebookSize > codebookSize)
      throw new OptionError(
        `dataset ${tokenData.name} has ${tokenData.codebookSize} different tokens, the teacher "${plugin.name}" only ${codebookSize}`,
      );
    return { definition, tokens: tokenData.tokens, condition: tokenData.condition };
  }
  const dataset = await requireDataset(config.dataset, project.registry);
  const { encodeImages, readTokenizer } = await import('@dimo/teacher-maskgit');
  const source = config.train.teacher.tokenizer;
  if (source === undefined)
    throw new OptionError('train teacher: a dataset of images needs a tokenizer', {
      hint: `run \`dimo train tokenizer --dataset ${config.dataset}\` first, then give its folder with --tokenizer`,
    });
  const tokenizer = await readTokenizer(folderWeightSource(await resolvePart(source, ['tokenizer', 'teacher'])));
  await tellUnfinished([source], { quiet });
  const definition = await define(
    session,
    plugin,
    plugin.name === 'maskgit' ? { classNames: dataset.classNames, ...given, tokenizer: tokenizer.config } : given,
  );
  if (!quiet) printError(`encoding ${dataset.train.count} images of ${dataset.name} ...`);
  const tokens = await encodeImages(session.engine, {
    decoder: definition.decoder ?? tokenizer.tokenizer,
    weights: tokenizer.weights,
    images: dataset.train,
  });
  const { tokens: rows, texts } = describedSequences(dataset.train, tokens);
  const prepared = await prepareTeacher(session.engine, definition);
  try {
    const condition = await prepared.teacher.conditions.parse(texts);
    return {
      definition: { ...prepared.teacher, conditions: definition.conditions },
      tokens: rows,
      condition,
      decoderWeights: tokenizer.weights,
    };
  } finally {
    await prepared.dispose();
  }
}

/** The architecture; with the files that its conditions need, where a folder of them is named. */
function define(
  { config }: TrainingSession,
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
