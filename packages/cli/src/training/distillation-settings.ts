/** From the configuration to the options of core's trainings. */
import {
  describeGenerator,
  dimoAlgorithm,
  dimoOptions,
  distillationRunOptions,
  findAlgorithm,
  mergeObjects,
  OptionError,
  pickOptions,
  prepareDistillation,
  resolveSampler,
  teacherTrainingOptions as teacherTraining,
  type DistillationModels,
  type DistillationOptions,
  type DistillationRunOptions,
  type HostTree,
  type PluginRegistry,
  type PreparedDistillation,
  type Teacher,
  type TeacherTrainingOptions,
} from '@dimo/core';
import type { TokenizerTrainingOptions } from '@dimo/tokenizers';
import { tokenizerTrainingOptions as tokenizerTraining } from '@dimo/tokenizers/options';
import { z } from 'zod';
import type { DimoConfig } from '../config/schema.js';

/** Options of a distillation by `dimo`. */
export function distillationOptions(config: Pick<DimoConfig, 'distill' | 'seed'>): DistillationOptions {
  return { ...runOf(config), ...pickOptions(dimoOptions, config.distill) };
}

/** What every distillation is told. */
function runOf({ distill, seed }: Pick<DimoConfig, 'distill' | 'seed'>): DistillationRunOptions {
  return { ...pickOptions(distillationRunOptions, distill), seed };
}

/**
 * A distillation by the algorithm that the configuration names.
 *
 * @throws OptionError for an unknown algorithm, an option that it does not have, or a generator that could not be loaded.
 */
export function configuredDistillation(
  config: Pick<DimoConfig, 'distill' | 'seed'>,
  registry: Pick<PluginRegistry, 'algorithms' | 'samplers' | 'teachers'>,
  { teacher, negativeCondition }: ConfiguredTeacher,
): PreparedDistillation {
  const { distill } = config;
  const algorithm = findAlgorithm(distill.algorithm, registry.algorithms, 'distill.algorithm');
  const isDimo = algorithm.name === dimoAlgorithm.name;
  refuseOptionsOfOthers(distill, isDimo);
  const prepared = prepareDistillation({
    algorithm,
    teacher,
    options: isDimo ? pickOptions(dimoOptions, distill) : distill.options,
    run: runOf(config),
    models: modelsOf(distill.generator, teacher, registry.teachers),
    where: isDimo ? 'distill' : 'distill.options',
    ...(negativeCondition ? { negativeCondition } : {}),
  });
  // What would come out at the end of a run only: that its generator can be loaded and sampled.
  describeGenerator(teacher, prepared);
  const { sampler } = prepared.generator.sampling;
  if (sampler) resolveSampler(sampler, {}, registry.samplers, `the sampler of the algorithm "${algorithm.name}"`);
  return prepared;
}

interface ConfiguredTeacher {
  readonly teacher: Teacher;
  readonly negativeCondition?: HostTree | undefined;
}

/** A generator of another architecture: the teacher's configuration with some of its keys changed. */
function modelsOf(
  changes: Readonly<Record<string, unknown>>,
  teacher: Teacher,
  teachers: PluginRegistry['teachers'],
): DistillationModels {
  if (Object.keys(changes).length === 0) return {};
  const plugin = teachers.get(teacher.name);
  if (!plugin)
    throw new OptionError(`distill.generator: no plugin defines models of the teacher "${teacher.name}"`, {
      hint: 'leave it out: the generator then has the architecture of the teacher',
    });
  const architecture = mergeObjects(teacher.config, changes);
  return { generator: { model: plugin.define(architecture).model, architecture } };
}

function refuseOptionsOfOthers(distill: DimoConfig['distill'], isDimo: boolean): void {
  if (isDimo && Object.keys(distill.options).length > 0)
    throw new OptionError('distill.options is for other algorithms than dimo', {
      hint: 'options of dimo stand under distill itself: distill.divergence',
    });
  if (isDimo) return;
  const defaults: Readonly<Record<string, unknown>> = z.strictObject(dimoOptions).parse({});
  const changed = Object.entries(pickOptions(dimoOptions, distill)).find(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(defaults[key]),
  );
  if (changed)
    throw new OptionError(`distill.${changed[0]} is an option of dimo, not of ${distill.algorithm}`, {
      hint: 'leave it out; options of other algorithms stand under distill.options',
    });
}

/** What a person should know of a run whose learning rate is still rising when it ends. */
export function warmupNote(
  section: string,
  { numSteps, learningRateSchedule }: Pick<DimoConfig['distill'], 'numSteps' | 'learningRateSchedule'>,
): string | undefined {
  const { warmupSteps } = learningRateSchedule;
  return warmupSteps < numSteps
    ? undefined
    : `warning: the learning rate rises for ${warmupSteps} steps (${section}.learningRateSchedule.warmupSteps), and the run ends after ${numSteps}`;
}

/** Options of teacher training. */
export function teacherTrainingOptions({ train, seed }: Pick<DimoConfig, 'train' | 'seed'>): TeacherTrainingOptions {
  return { ...pickOptions(teacherTraining, train.teacher), seed };
}

/** Options of tokenizer training. */
export function tokenizerTrainingOptions({
  train,
  seed,
}: Pick<DimoConfig, 'train' | 'seed'>): TokenizerTrainingOptions {
  return { ...pickOptions(tokenizerTraining, train.tokenizer), seed };
}
