/** What of a distillation is the generator, and how it is sampled. */
import type { Distillation } from './distillation.js';
import type { GeneratorDescription } from '../generator/generator.js';
import type { TeacherDefinition } from '../model/model.js';
import type { GeneratorTokenInit } from '../sampling/one-step.js';

/**
 * Description of the generator that a distillation makes.
 *
 * @param extra - what the distillation itself does not know: how it was made, and the temperature to sample with.
 */
export function describeGenerator(
  teacher: Pick<TeacherDefinition, 'name' | 'config'>,
  distillation: Pick<Distillation, 'settings' | 'context' | 'setup'>,
  extra: Pick<GeneratorDescription, 'training' | 'temperature'> = {},
): GeneratorDescription {
  return {
    format: 'dimo-generator',
    version: 1,
    teacher: { name: teacher.name, config: teacher.config },
    model: distillation.setup.networks.generator.name,
    tokenInit: generatorTokenInit(distillation),
    ...extra,
  };
}

/** Token initialization with which a distillation's generator is sampled: the noise of the end of its schedule. */
export function generatorTokenInit({
  settings,
  context,
}: Pick<Distillation, 'settings' | 'context'>): GeneratorTokenInit {
  return {
    maskRatio: settings.tokenInit.maskRatio,
    embeddingNoise: settings.tokenInit.embeddingNoise.scale,
    noiseDeviation: context.noiseUnit,
  };
}
