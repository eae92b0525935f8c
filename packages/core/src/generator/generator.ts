/**
 * What makes a directory of weights a one-step generator: a description, saved as JSON beside the weights. The weights
 * themselves keep the teacher's parameter names, so they also load into the original implementation.
 */
import { isRecord } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import type { TeacherDefinition } from '../model/model.js';
import type { GeneratorTokenInit } from '../sampling/one-step.js';
import type { HostTree } from '../tensors/tensors.js';

/** Description of a generator; plain JSON. */
export interface GeneratorDescription {
  readonly format: 'dimo-generator';
  readonly version: 1;
  /** The teacher plugin and its configuration, from which architecture, conditions and decoder are rebuilt. */
  readonly teacher: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** `model.name` of the generator, to recognize weights of another architecture. */
  readonly model: string;
  readonly tokenInit: GeneratorTokenInit;
  /** Temperature to sample with unless another is asked for, > 0. @default 1 */
  readonly temperature?: number;
  /** How it was made: steps, seed, settings. Informative. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/** A one-step generator, ready to be compiled and sampled. */
export interface LoadedGenerator {
  readonly description: GeneratorDescription;
  /** Model, conditions and decoder, rebuilt by the teacher plugin from `description.teacher.config`. */
  readonly definition: TeacherDefinition;
  readonly weights: HostTree;
  readonly decoderWeights?: HostTree;
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
  const init = isRecord(root['tokenInit']) ? root['tokenInit'] : fail('tokenInit', 'an object', root['tokenInit']);
  const { maskRatio, embeddingNoise, noiseDeviation } = init;
  const isRatio = (x: unknown): x is number => typeof x === 'number' && x >= 0 && x <= 1;
  const isRange = Array.isArray(maskRatio) && maskRatio.length === 2 && maskRatio.every(isRatio);
  if (!isRatio(maskRatio) && !isRange) fail('tokenInit.maskRatio', 'in [0, 1] or a range in it', maskRatio);
  if (!isRatio(embeddingNoise)) fail('tokenInit.embeddingNoise', 'in [0, 1]', embeddingNoise);
  if (typeof noiseDeviation !== 'number' || !(noiseDeviation >= 0 && noiseDeviation < Infinity))
    fail('tokenInit.noiseDeviation', 'a number >= 0', noiseDeviation);
  const { temperature } = root;
  if (temperature !== undefined && !(typeof temperature === 'number' && temperature > 0 && temperature < Infinity))
    fail('temperature', 'a positive number', temperature);
  return {
    format: 'dimo-generator',
    version: 1,
    teacher: { name: name as string, config: config as Record<string, unknown> },
    model: root['model'] as string,
    tokenInit: init as unknown as GeneratorTokenInit,
    ...(typeof temperature === 'number' ? { temperature } : {}),
    ...(isRecord(root['training']) ? { training: root['training'] } : {}),
  };
}
