/** The multi-step sampler that a person asks for. */
import type { SamplerSettings } from '@dimo/core';
import type { Project } from './session.js';

/** Sampler and options that go before the teacher's own: a teacher knows better how many steps it needs than any default. */
export function samplerAsked({ config, given }: Pick<Project, 'config' | 'given'>): SamplerSettings {
  const { steps, guidance, temperature, topK, topP } = config.sample;
  return {
    ...config.sampler,
    ...(given.has('sample.steps') ? { numSteps: steps } : {}),
    ...(guidance === undefined ? {} : { guidanceScale: guidance }),
    ...(temperature === undefined ? {} : { temperature }),
    ...(given.has('sample.topK') ? { topK } : {}),
    ...(given.has('sample.topP') ? { topP } : {}),
  };
}
