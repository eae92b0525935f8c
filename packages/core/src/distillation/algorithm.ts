/**
 * The slot of distillation algorithms: how a teacher that takes many passes becomes a generator that takes few. An
 * algorithm is phases of training, and what of their result is the generator and how it is sampled.
 */
import { z } from 'zod';
import { OptionError } from '../errors.js';
import type { GeneratorArchitecture, GeneratorDescription, GeneratorSampling } from '../generator/generator.js';
import type { MaskedDiffusionModel, Teacher, TeacherDefinition } from '../model/model.js';
import type { ModelState } from '../model/model-state.js';
import { parseOptions } from '../options/parse-options.js';
import type { HostTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
import type { PhaseInputs, Shard } from '../training/phase-program.js';
import type { TrainingProgram } from '../training/training.js';
import { distillationRunOptions, type DistillationRun, type DistillationRunOptions } from './run-options.js';

export type { DistillationRun, DistillationRunOptions } from './run-options.js';

/** Networks of other architectures than the teacher's; they share its token space and condition. */
export interface DistillationModels {
  /** @default the teacher's model, its weights a copy of the teacher's */
  readonly generator?: DistilledNetwork;
  /** Of algorithms that have one. @default the teacher's model, its weights a copy of the teacher's */
  readonly auxiliary?: DistilledNetwork;
}

/** A network to train. */
export interface DistilledNetwork {
  /** @default the teacher's model */
  readonly model?: MaskedDiffusionModel;
  /** First weights. @default a copy of the teacher's; fresh ones for another model */
  readonly weights?: HostTree;
  /**
   * Configuration from which the teacher's plugin defines `model`; it is saved with the generator, which could not be
   * loaded without. Of the generator alone, where its model is another than the teacher's.
   */
  readonly architecture?: GeneratorArchitecture;
}

/** What an algorithm works with. */
export interface AlgorithmRequest<Options> {
  readonly teacher: Teacher;
  /** Of the algorithm's own schema, defaults filled in. */
  readonly options: Options;
  readonly run: DistillationRun;
  readonly models: DistillationModels;
  /**
   * What guidance leads away from, tensors without batch axis: the condition of a negative prompt.
   *
   * @default the teacher's null condition
   */
  readonly negativeCondition?: HostTree;
  /** See `PhaseProgramOptions.shard`. */
  readonly shard?: Shard;
}

/** A teacher made ready to be distilled. */
export interface PreparedDistillation {
  readonly algorithm: string;
  readonly program: TrainingProgram<PhaseInputs>;
  /** The model that is evaluated and saved. */
  readonly generator: DistilledGenerator;
  /**
   * Prefixes of the state that no step changes: checkpoints leave them out, and a resumed run takes them from its inputs.
   *
   * @default none
   */
  readonly frozen?: readonly string[];
}

/** What of a distillation's state is the generator. */
export interface DistilledGenerator {
  readonly model: MaskedDiffusionModel;
  /** Where its weights are in the state: those of a moving average, if there is one. */
  readonly weights: ModelState;
  /** How it is sampled. */
  readonly sampling: GeneratorSampling;
  /** See `DistilledNetwork.architecture`. */
  readonly architecture?: GeneratorArchitecture;
}

/** A distillation algorithm. */
export interface DistillationAlgorithm<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  /** One line: what it does, and its source. */
  readonly description: string;
  /** The options beside those of `DistillationRun`: types, ranges, defaults and sentences. */
  readonly options: S;
  /** Whether it reads `negativeCondition`; where it does not, one is refused. @default false */
  readonly usesNegativeCondition?: boolean;
  /** @throws OptionError for options that do not fit each other, the teacher or the models. */
  prepare(request: AlgorithmRequest<z.output<S>>): Omit<PreparedDistillation, 'algorithm'>;
}

/** An algorithm, its type inferred from its options. */
export function defineAlgorithm<S extends z.ZodObject>(algorithm: DistillationAlgorithm<S>): DistillationAlgorithm<S> {
  return algorithm;
}

/** Algorithms by name. */
export type AlgorithmRegistry = ReadonlyMap<string, DistillationAlgorithm>;

const runSchema = z.strictObject(distillationRunOptions);

/** Arguments of `prepareDistillation`. */
export interface PrepareDistillationOptions extends Pick<
  AlgorithmRequest<object>,
  'teacher' | 'negativeCondition' | 'shard'
> {
  readonly algorithm: DistillationAlgorithm;
  /** Checked by the algorithm's schema. */
  readonly options?: unknown;
  readonly run?: DistillationRunOptions;
  readonly models?: DistillationModels;
  /** Path of the options, for messages. @default the algorithm's name */
  readonly where?: string;
}

/**
 * Prepares a distillation by any algorithm.
 *
 * @throws OptionError for a wrong option, or a network whose token space or condition is not the teacher's.
 */
export function prepareDistillation(given: PrepareDistillationOptions): PreparedDistillation {
  const { algorithm, teacher, models = {}, where = algorithm.name } = given;
  for (const [role, network] of Object.entries(models) as [string, DistilledNetwork][])
    checkSameSpace(teacher.model, network.model ?? teacher.model, role);
  if (given.negativeCondition && !algorithm.usesNegativeCondition)
    throw new OptionError(
      `${where}: the distillation algorithm "${algorithm.name}" has no use for a negative condition`,
      {
        hint: 'leave it out',
      },
    );
  const prepared = algorithm.prepare({
    teacher,
    options: parseOptions(algorithm.options, given.options ?? {}, where),
    run: parseOptions(runSchema, given.run ?? {}, 'distillation'),
    models,
    ...(given.negativeCondition ? { negativeCondition: given.negativeCondition } : {}),
    ...(given.shard ? { shard: given.shard } : {}),
  });
  // Last: an algorithm may be built on another.
  return { ...prepared, algorithm: algorithm.name };
}

/** The algorithm of a name. @throws OptionError naming those that there are. */
export function findAlgorithm(name: string, algorithms: AlgorithmRegistry, where = 'algorithm'): DistillationAlgorithm {
  const found = algorithms.get(name);
  if (!found)
    throw new OptionError(
      `${where}: there is no distillation algorithm "${escapeText(name)}"; known are ${[...algorithms.keys()].join(', ')}`,
    );
  return found;
}

/** Generators and auxiliary models see what the teacher sees. @throws OptionError */
export function checkSameSpace(teacher: MaskedDiffusionModel, model: MaskedDiffusionModel, role: string): void {
  const facts = ({ tokenSpace, condition }: MaskedDiffusionModel) => JSON.stringify({ tokenSpace, condition });
  if (facts(model) !== facts(teacher))
    throw new OptionError(
      `distillation: the ${role} model "${model.name}" must have the teacher's token space and condition, got ${facts(model)}, the teacher has ${facts(teacher)}`,
    );
}

/**
 * Description of the generator that a distillation makes.
 *
 * @throws OptionError if the generator could not be loaded again: call it before a run, not after.
 * @param extra - what the distillation itself does not know: how it was made, and the temperature to sample with.
 */
export function describeGenerator(
  teacher: Pick<TeacherDefinition, 'name' | 'config' | 'model'>,
  { algorithm, generator }: Pick<PreparedDistillation, 'algorithm' | 'generator'>,
  extra: Pick<GeneratorDescription, 'training' | 'temperature'> = {},
): GeneratorDescription {
  if (generator.model !== teacher.model && !generator.architecture)
    throw new OptionError(
      `distillation: the generator "${generator.model.name}" is of another architecture than its teacher "${teacher.model.name}" and could not be loaded again`,
      { hint: 'give models.generator.architecture, the configuration from which its plugin defines it' },
    );
  return {
    format: 'dimo-generator',
    version: 1,
    algorithm,
    teacher: { name: teacher.name, config: teacher.config },
    model: generator.model.name,
    ...(generator.architecture ? { architecture: generator.architecture } : {}),
    ...generator.sampling,
    ...extra,
  };
}
