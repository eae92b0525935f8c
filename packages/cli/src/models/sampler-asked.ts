/** How a person asks for samples to be drawn. */
import type { SamplerSettings } from '@dimo/core';
import type { GeneratorSettings } from '@dimo/pipeline';
import type { DimoConfig } from '../config/schema.js';
import type { Project } from '../project/session.js';

/** Sampler and options that go before the teacher's own: a teacher knows better how many steps it needs than any default. */
export function samplerAsked({ config, given }: Pick<Project, 'config' | 'given'>): SamplerSettings {
  const { steps, guidance, temperature, topK, topP } = config.sample;
  return {
    ...config.sampler,
    ...(steps === undefined ? {} : { numSteps: steps }),
    ...(guidance === undefined ? {} : { guidanceScale: guidance }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(given.has('sample.topK') ? { topK } : {}),
    ...(given.has('sample.topP') ? { topP } : {}),
  };
}

/** How a generator draws, of the settings of `dimo sample`. */
export function generatorSettings({
  temperature,
  embeddingNoise,
  topK,
  topP,
}: DimoConfig['sample']): GeneratorSettings {
  return { temperature, embeddingNoise, topK, topP };
}
