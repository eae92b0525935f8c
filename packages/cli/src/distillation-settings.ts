/** From the configuration to the options of core's trainings. */
import {
  dimoAlgorithm,
  dimoDistillationOptions,
  dimoOptions,
  findAlgorithm,
  OptionError,
  prepareDistillation,
  type AlgorithmRegistry,
  type DistillationOptions,
  type DistillationRun,
  type HostTree,
  type PreparedDistillation,
  type PrepareDistillationOptions,
  type TeacherTrainingOptions,
} from '@dimo/core';
import type { TokenizerTrainingOptions } from '@dimo/teacher-maskgit';
import type { DimoConfig } from './config/schema.js';

/** Options of a distillation by `dimo`. */
export function distillationOptions({ distill, seed }: Pick<DimoConfig, 'distill' | 'seed'>): DistillationOptions {
  return { ...runOf({ distill, seed }), ...dimoDistillationOptions(dimoOptionsOf(distill)) };
}

/** What every distillation is told. */
function runOf({ distill, seed }: Pick<DimoConfig, 'distill' | 'seed'>): DistillationRun {
  const { numSteps, batchSize, accumulation, onNonFinite } = distill;
  return { numSteps, batchSize, accumulation, onNonFinite, seed };
}

function dimoOptionsOf(distill: DimoConfig['distill']): Pick<DimoConfig['distill'], keyof typeof dimoOptions> {
  const keys = Object.keys(dimoOptions) as (keyof typeof dimoOptions)[];
  return Object.fromEntries(keys.map((key) => [key, distill[key]])) as never;
}

/**
 * A distillation by the algorithm that the configuration names.
 *
 * @throws OptionError for an unknown algorithm, or an option that it does not have.
 */
export function configuredDistillation(
  config: Pick<DimoConfig, 'distill' | 'seed'>,
  algorithms: AlgorithmRegistry,
  {
    teacher,
    negativeCondition,
  }: Pick<PrepareDistillationOptions, 'teacher'> & { negativeCondition?: HostTree | undefined },
): PreparedDistillation {
  const { distill } = config;
  const algorithm = findAlgorithm(distill.algorithm, algorithms, 'distill.algorithm');
  const isDimo = algorithm.name === dimoAlgorithm.name;
  if (isDimo && Object.keys(distill.options).length > 0)
    throw new OptionError('distill.options is for other algorithms than dimo', {
      hint: 'options of dimo stand under distill itself: distill.divergence',
    });
  return prepareDistillation({
    algorithm,
    teacher,
    options: isDimo ? dimoOptionsOf(distill) : distill.options,
    run: runOf(config),
    where: isDimo ? 'distill' : 'distill.options',
    ...(negativeCondition ? { negativeCondition } : {}),
  });
}

/** Options of teacher training. */
export function teacherTrainingOptions({ train, seed }: Pick<DimoConfig, 'train' | 'seed'>): TeacherTrainingOptions {
  const { tokenizer: _tokenizer, config: _config, optimizer, ...same } = train.teacher;
  return { ...same, seed, optimizer: optimizerOptions(optimizer) };
}

/** Options of tokenizer training. */
export function tokenizerTrainingOptions({
  train,
  seed,
}: Pick<DimoConfig, 'train' | 'seed'>): TokenizerTrainingOptions {
  const { config: _config, optimizer, ...same } = train.tokenizer;
  return { ...same, seed, optimizer: optimizerOptions(optimizer) };
}

function optimizerOptions({ clipNorm, ...rest }: DimoConfig['distill']['generatorOptimizer']) {
  return { ...rest, ...optional({ clipNorm }) };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The properties that are set: an absent key and a key that is undefined are different things to a reader of types. */
function optional<T extends Record<string, unknown>>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
