/**
 * What makes a directory of weights a generator: a description, saved as JSON beside the weights. The weights
 * themselves keep the teacher's parameter names, so they also load into the original implementation.
 */
import { isRecord } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import type { Teacher, TeacherDefinition } from '../model/model.js';
import type { SamplerSettings } from '../model/sampler-options.js';
import { readSamplerSettings } from '../sampling/resolve-sampler.js';
import type { GeneratorTokenInit } from '../sampling/one-step.js';
import type { HostTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';

/** Description of a generator; plain JSON. */
export interface GeneratorDescription {
  readonly format: 'dimo-generator';
  readonly version: 1;
  /** The teacher plugin and its configuration, from which architecture, conditions and decoder are rebuilt. */
  readonly teacher: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** `model.name` of the generator, to recognize weights of another architecture. */
  readonly model: string;
  /**
   * Configuration of the same plugin that defines the generator's architecture, where that is another than the teacher's.
   *
   * @default the teacher's
   */
  readonly architecture?: GeneratorArchitecture;
  /** The distillation algorithm. Informative. */
  readonly algorithm?: string;
  /** What its one pass begins with; absent if it takes several. */
  readonly tokenInit?: GeneratorTokenInit;
  /** The sampler of its passes; absent if it takes one. */
  readonly sampler?: SamplerSettings;
  /** Temperature to sample with unless another is asked for. @default that of `tokenOptions` */
  readonly temperature?: number;
  /** How it was made: steps, seed, settings. Informative. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/** Configuration of a teacher's plugin, of which the model alone is used. */
export type GeneratorArchitecture = Readonly<Record<string, unknown>>;

/** How a generator is sampled: in one pass from a token initialization, or in the passes of a sampler. */
export type GeneratorSampling =
  | { readonly tokenInit: GeneratorTokenInit; readonly sampler?: never }
  | { readonly sampler: SamplerSettings; readonly tokenInit?: never };

/** What the one pass of a generator begins with. @throws OptionError for a generator that takes several passes. */
export function oneStepTokenInit({ tokenInit, sampler }: GeneratorDescription): GeneratorTokenInit {
  if (!tokenInit)
    throw new OptionError(
      `the generator takes several passes, of the sampler "${escapeText(String(sampler?.name))}"; one pass was asked of it`,
    );
  return tokenInit;
}

/** A generator, ready to be compiled and sampled. */
export interface LoadedGenerator {
  readonly description: GeneratorDescription;
  /** Model, conditions and decoder, rebuilt by the teacher plugin from `description.teacher.config`. */
  readonly definition: TeacherDefinition;
  readonly weights: HostTree;
  readonly decoderWeights?: HostTree;
}

/**
 * A generator of several passes as what it is to samplers: a teacher with weights, and a sampler, of its own.
 *
 * @throws OptionError for a generator of one pass.
 */
export function asTeacher({ description, definition, weights, decoderWeights }: LoadedGenerator): Teacher {
  if (!description.sampler) throw new OptionError('the generator takes one pass; sample it in one');
  const { sampler, temperature } = description;
  return {
    ...definition,
    sampler: { ...sampler, ...(temperature === undefined ? {} : { temperature }) },
    weights,
    ...(decoderWeights ? { decoderWeights } : {}),
  };
}

/**
 * Checks a description that was read from a file.
 *
 * @param value - parsed JSON.
 * @param where - the file, for messages.
 * @throws OptionError naming the first field that is wrong.
 */
export function parseGeneratorDescription(value: unknown, where: string): GeneratorDescription {
  const fail = (field: string, expected: string, got: unknown): never => {
    throw new OptionError(`${where}: ${field} must be ${expected}, got ${JSON.stringify(got) ?? 'nothing'}`);
  };
  const root = isRecord(value) ? value : fail('the description', 'an object', value);
  if (root['format'] !== 'dimo-generator') fail('format', '"dimo-generator"', root['format']);
  if (root['version'] !== 1) fail('version', '1 (a newer @dimo/core may have written it)', root['version']);
  const teacher = isRecord(root['teacher']) ? root['teacher'] : fail('teacher', 'an object', root['teacher']);
  const { name, config } = teacher;
  if (typeof name !== 'string' || name === '') fail('teacher.name', 'the name of a teacher plugin', name);
  if (!isRecord(config)) fail('teacher.config', 'an object', config);
  if (typeof root['model'] !== 'string') fail('model', 'a string', root['model']);
  const { architecture, algorithm } = root;
  if (architecture !== undefined && !isRecord(architecture)) fail('architecture', 'an object', architecture);
  if (algorithm !== undefined && typeof algorithm !== 'string') fail('algorithm', 'a string', algorithm);
  const { temperature } = root;
  if (temperature !== undefined && !(typeof temperature === 'number' && temperature > 0 && temperature < Infinity))
    fail('temperature', 'a positive number', temperature);
  if (root['sampler'] !== undefined && root['tokenInit'] !== undefined)
    fail('sampler', 'absent beside tokenInit', root['sampler']);
  return {
    format: 'dimo-generator',
    version: 1,
    teacher: { name: name as string, config: config as Record<string, unknown> },
    model: root['model'] as string,
    ...(isRecord(architecture) ? { architecture } : {}),
    ...(typeof algorithm === 'string' ? { algorithm } : {}),
    ...(root['sampler'] === undefined
      ? { tokenInit: parseTokenInit(root['tokenInit'], fail) }
      : { sampler: readSamplerSettings(root['sampler'], `${where}: sampler`) }),
    ...(typeof temperature === 'number' ? { temperature } : {}),
    ...(isRecord(root['training']) ? { training: root['training'] } : {}),
  };
}

type Fail = (field: string, expected: string, got: unknown) => never;

function parseTokenInit(value: unknown, fail: Fail): GeneratorTokenInit {
  const init = isRecord(value) ? value : fail('tokenInit', 'an object', value);
  const { maskRatio, embeddingNoise, noiseDeviation } = init;
  const isRatio = (x: unknown): x is number => typeof x === 'number' && x >= 0 && x <= 1;
  const isRange = Array.isArray(maskRatio) && maskRatio.length === 2 && maskRatio.every(isRatio);
  if (!isRatio(maskRatio) && !isRange) fail('tokenInit.maskRatio', 'in [0, 1] or a range in it', maskRatio);
  if (!isRatio(embeddingNoise)) fail('tokenInit.embeddingNoise', 'in [0, 1]', embeddingNoise);
  if (typeof noiseDeviation !== 'number' || !(noiseDeviation >= 0 && noiseDeviation < Infinity))
    fail('tokenInit.noiseDeviation', 'a number >= 0', noiseDeviation);
  return init as unknown as GeneratorTokenInit;
}
