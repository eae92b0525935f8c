/**
 * Settings that were typed and would change nothing: each is refused, because whoever typed it expects something of it. A
 * file may hold settings for several commands; what it says beyond the command at hand is left alone.
 */
import { dimoOptions, OptionError } from '@dimo/core';
import type { ConfiguredCommand } from '../flags/flags.js';
import type { LoadedConfig } from './load.js';
import type { DimoConfig } from './schema.js';

const everyRun = ['seed', 'plugins', 'engine', 'run', 'checkpoint', 'log'];
const generatorSampling = ['sample.temperature', 'sample.embeddingNoise', 'sample.topK', 'sample.topP'];

/** Keys that a command reads, or the sections that hold them. */
const keysOf: Readonly<Record<ConfiguredCommand, readonly string[]>> = {
  distill: [...everyRun, 'teacher', 'dataset', 'distill', 'sample.temperature'],
  'train tokenizer': [...everyRun, 'dataset', 'pictures', 'train.tokenizer'],
  'train teacher': [...everyRun, 'dataset', 'pictures', 'train.teacher', 'teacher.plugin', 'teacher.config'],
  sample: ['seed', 'plugins', 'engine', 'teacher', 'sample', 'sampler'],
  eval: ['plugins', 'engine', 'dataset', 'pictures', 'teacher', 'eval', 'sampler', ...generatorSampling],
  serve: ['plugins', 'engine', 'sample.steps', 'sampler'],
  demo: [...everyRun, 'teacher', 'dataset', 'pictures', 'distill', 'eval', 'sampler', ...generatorSampling],
  'dataset info': ['plugins', 'dataset', 'pictures', 'train.tokenizer.preset', 'train.teacher.preset'],
};

type Settings = Pick<DimoConfig, 'distill' | 'train' | 'teacher'>;

/** Keys that count only beside another setting: where they are without effect, and what would give them one. */
const conditional: readonly (readonly [key: string, isIdle: (config: Settings) => boolean, needs: string])[] = [
  [
    'distill.divergence.beta',
    ({ distill }) => distill.divergence.kind !== 'jeffreys',
    'distill.divergence.kind jeffreys',
  ],
  [
    'distill.tokenInit.embeddingNoise.warmupSteps',
    ({ distill }) => distill.tokenInit.embeddingNoise.kind === 'fixed',
    'another distill.tokenInit.embeddingNoise.kind than fixed',
  ],
  ['distill.softTemperature', ({ distill }) => distill.softWeight === 0, 'a distill.softWeight above 0'],
  [
    'distill.negativePrompt',
    ({ distill }) => distill.teacherGuidance.scale === 1,
    'another scale of distill.teacherGuidance than 1',
  ],
  [
    'distill.preset',
    ({ distill }) => distill.algorithm !== 'dimo',
    'the distillation algorithm dimo, whose settings it has',
  ],
  ['distill.options', ({ distill }) => distill.algorithm === 'dimo', 'another distill.algorithm than dimo'],
  ...Object.keys(dimoOptions).map(
    (option) =>
      [
        `distill.${option}`,
        ({ distill }: Settings) => distill.algorithm !== 'dimo',
        'the distillation algorithm dimo; options of another stand under distill.options',
      ] as const,
  ),
  ['train.teacher.initWith', ({ train }) => train.teacher.init === undefined, 'train.teacher.init'],
  ['distill.maxSkipped', ({ distill }) => distill.onNonFinite !== 'skip', 'distill.onNonFinite skip'],
  ...(
    [
      ['distill', ({ distill }) => distill],
      ['train.tokenizer', ({ train }) => train.tokenizer],
      ['train.teacher', ({ train }) => train.teacher],
    ] as readonly (readonly [string, (config: Settings) => Pick<DimoConfig['distill'], 'learningRateSchedule'>])[]
  ).flatMap(
    ([section, of]) =>
      [
        [
          `${section}.learningRateSchedule.constantFraction`,
          (config: Settings) => of(config).learningRateSchedule.kind !== 'constant-then-linear',
          `${section}.learningRateSchedule.kind constant-then-linear`,
        ],
        [
          `${section}.learningRateSchedule.finalFraction`,
          (config: Settings) => of(config).learningRateSchedule.kind === 'constant',
          `another ${section}.learningRateSchedule.kind than constant`,
        ],
      ] as const,
  ),
];

/**
 * Refuses what was typed and has no effect.
 *
 * @throws OptionError naming the setting as it was typed.
 */
export function refuseIneffective(
  { config, typed }: Pick<LoadedConfig, 'config' | 'typed'>,
  command: ConfiguredCommand,
): void {
  for (const [key, where] of typed)
    if (!keysOf[command].some((known) => isBelow(key, known) || isBelow(known, key)))
      throw ineffective(where, `\`dimo ${command}\` does not read ${key}`);
  for (const [key, isIdle, needs] of conditional) {
    if (!isIdle(config)) continue;
    for (const [typedKey, where] of typed) if (isBelow(typedKey, key)) throw ineffective(where, `it needs ${needs}`);
  }
  if (config.teacher.plugin === undefined && Object.keys(config.teacher.config).length > 0)
    throw ineffective('teacher.config', 'a teacher that is read from its folder has its own; set teacher.plugin too');
}

/**
 * Refuses typed settings under some keys.
 *
 * @param keys - keys or sections.
 * @param why - why they have no effect.
 * @throws OptionError
 */
export function refuseTyped({ typed }: Pick<LoadedConfig, 'typed'>, keys: readonly string[], why: string): void {
  for (const [key, where] of typed) if (keys.some((refused) => isBelow(key, refused))) throw ineffective(where, why);
}

/** Settings that `dimo eval` reads for generators alone; the teacher it samples as `sampler` says. */
export const oneStepKeys: readonly string[] = generatorSampling;
/** Settings of a sampler of several steps, which a one-step generator does not have. */
export const severalStepsKeys = ['sample.steps', 'sample.guidance', 'sampler'];

function ineffective(where: string, why: string): OptionError {
  return new OptionError(`${where} has no effect: ${why}`, { hint: 'leave it out' });
}

function isBelow(key: string, section: string): boolean {
  return key === section || key.startsWith(`${section}.`);
}
