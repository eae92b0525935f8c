/** What a teacher's training starts from: weights of a file, and what else a trainer's checkpoint has of a training. */
import {
  escapeText,
  OptionError,
  selectTensors,
  type TeacherDefinition,
  type TrainingProgram,
  type TrainingStart,
} from '@dimo/core';
import type { BegunTraining } from '@dimo/core/weight-files';
import { existsSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname } from 'node:path';
import type { DimoConfig } from '../config/schema.js';
import { modelFolder } from '@dimo/pipeline';
import { exitUsage, withExitCode } from '../output/failure.js';

type Settings = Pick<DimoConfig, 'train'>['train']['teacher'];
type Model = TeacherDefinition['model'];

/** Whom a command tells what it starts from, and whether it starts. */
export interface Told {
  readonly onNote: (line: string) => void;
  /** A run that is continued has its own state. */
  readonly isNew: boolean;
}

/**
 * Checks the file that a new run starts from, if there is one, and says what is taken from it and what is left.
 *
 * @throws OptionError if there is no such file, or nothing to do; WeightError, NonFiniteError if it does not fit or is damaged.
 */
export async function tellInitialState(
  { train: { teacher } }: Pick<DimoConfig, 'train'>,
  { model }: Pick<TeacherDefinition, 'model'>,
  { onNote, isNew }: Told,
): Promise<void> {
  const { init } = teacher;
  if (init !== undefined && isNew) (await checkInitialState({ ...teacher, init }, model)).forEach(onNote);
}

/**
 * Reads the file that a training is to start from, without keeping it.
 *
 * @returns lines that say what is taken from it and what is left.
 */
async function checkInitialState(settings: Settings & { readonly init: string }, model: Model): Promise<string[]> {
  const { init, initWith, numSteps } = settings;
  const begun = await openInit(init, model);
  try {
    const names = Object.keys(begun.specs);
    if (initWith === 'weights') {
      await checkNumbers(
        begun,
        names.filter((name) => name.startsWith('weights/')),
      );
      return [
        `taken from ${escapeText(init)}: ${begun.taken[0]}`,
        'left there: all but the weights (train.teacher.initWith)',
      ];
    }
    const { iteration = 0, updates } = begun;
    if (iteration >= numSteps)
      throw new OptionError(
        `train.teacher.init: ${escapeText(init)} has made ${iteration} iterations, and the run is to end after ${numSteps}`,
        {
          path: init,
          hint: `say a later end, --steps ${iteration + 1000} for a thousand more, or begin a new training with its weights: --set train.teacher.initWith=weights`,
        },
      );
    await checkNumbers(begun, names);
    return [
      ...begun.taken.map((line) => `taken from ${escapeText(init)}: ${line}`),
      ...(begun.iteration === undefined
        ? []
        : [
            `the run goes on at step ${iteration} of ${numSteps}: learning rate and order of the data are those of that step`,
          ]),
      ...begun.left.map((line) => `left: ${line}`),
      ...(updates === undefined ? [] : otherSettings(begun.settings, settings)),
      'left: the average of the weights, which starts as the weights',
    ];
  } finally {
    await begun.close();
  }
}

/** Numbers that are not finite are wrong input as long as nothing is trained on them. */
async function checkNumbers(begun: BegunTraining, names: readonly string[]): Promise<void> {
  try {
    await begun.check(names);
  } catch (error) {
    throw withExitCode(error, exitUsage);
  }
}

/** The start of the training of a teacher from a file. @throws as `tellInitialState` */
export async function openInitialState(
  { init, initWith }: Settings & { readonly init: string },
  model: Model,
  { initialCounters }: Pick<TrainingProgram, 'initialCounters'>,
): Promise<TrainingStart> {
  const begun = await openInit(init, model);
  const isWhole = initWith === 'training';
  const { updates, iteration = 0, close } = begun;
  const names = Object.keys(model.parameters).flatMap((name): [string, string][] => [
    [`teacher/${name}`, `weights/${name}`],
    [`ema/${name}`, `weights/${name}`],
    ...(isWhole && updates !== undefined
      ? ([
          [`optimizer/m/${name}`, `m/${name}`],
          [`optimizer/v/${name}`, `v/${name}`],
        ] as [string, string][])
      : []),
  ]);
  return {
    step: isWhole ? iteration : 0,
    counters: { ...initialCounters, ...(isWhole && updates !== undefined ? { updates } : {}) },
    state: selectTensors(begun, Object.fromEntries(names)),
    close,
  };
}

/** Opens a file that a person has named; a link leads to where the file is, if that has a name of the same kind. */
async function openInit(init: string, model: Model): Promise<BegunTraining> {
  if (!existsSync(init) || !statSync(init).isFile())
    throw new OptionError(`train.teacher.init: ${escapeText(init)} is no file`, {
      path: init,
      hint: 'name a .pth, .pt, .ckpt, .bin or .safetensors file with the weights of the model',
    });
  const real = realpathSync(init);
  const path = extname(real) === extname(init) ? real : init;
  const { openBegunTraining } = await import('@dimo/core/weight-files');
  return openBegunTraining(modelFolder(dirname(path)), basename(path), model);
}

/** Settings of the optimizer that the run has otherwise, with the words that make them the same. */
function otherSettings(
  found: BegunTraining['settings'],
  { learningRate, optimizer: { beta1, beta2, epsilon, weightDecay } }: Settings,
): string[] {
  const betas = found.get('betas');
  const [first, second] = Array.isArray(betas) ? (betas as readonly number[]) : [];
  const compared: readonly (readonly [name: string, theirs: unknown, key: string, ours: number])[] = [
    ['lr', found.get('lr'), 'learningRate', learningRate],
    ['beta1', first, 'optimizer.beta1', beta1],
    ['beta2', second, 'optimizer.beta2', beta2],
    ['eps', found.get('eps'), 'optimizer.epsilon', epsilon],
    ['weight_decay', found.get('weight_decay'), 'optimizer.weightDecay', weightDecay],
  ];
  const others = compared.filter(([, theirs, , ours]) => typeof theirs === 'number' && theirs !== ours);
  if (others.length === 0) return [];
  const named = others.map(([name, theirs, , ours]) => `${name} ${String(theirs)} (the run has ${ours})`).join(', ');
  const flags = others.map(([, theirs, key]) => `--set train.teacher.${key}=${String(theirs)}`).join(' ');
  return [`left: settings of its optimizer: ${named}; to have them: ${flags}`];
}
