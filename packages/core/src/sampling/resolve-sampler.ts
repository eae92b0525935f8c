/** Which sampler, with which options: what was asked for, else what the teacher says. */
import type { z } from 'zod';
import { requireObject } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import { parseOptions } from '../options/parse-options.js';
import type { ResolvedSampling, SamplerSettings } from '../model/sampler-options.js';
import { escapeText } from '../text/escape-text.js';
import { builtInSamplers } from './built-in-samplers.js';
import { tokenOptions, type Sampler } from './sampler.js';

/** Samplers by name. */
export type SamplerRegistry = ReadonlyMap<string, Sampler>;

/** A sampler with checked options. */
export interface ResolvedSampler {
  readonly sampler: Sampler;
  /** Of the sampler's own schema, defaults filled in. */
  readonly options: z.output<z.ZodObject>;
  /** Those of them that say how tokens are drawn. */
  readonly sampling: ResolvedSampling;
}

/** Options of a teacher's sampler that hold for every other too: they belong to the model, not to the order of its tokens. */
const carriedOver = ['guidanceScale', ...Object.keys(tokenOptions)];

/**
 * Finds a sampler and checks its options.
 *
 * @param asked - options asked for; they go before the teacher's. Of a teacher whose sampler is another one only the
 *   guidance scale and how tokens are drawn are taken over.
 * @param teacher - the teacher's own settings.
 * @param samplers - by name. @default those of core
 * @param where - path of the options, for messages.
 * @throws OptionError for an unknown sampler, or an option that it does not have or that is out of its range.
 */
export function resolveSampler(
  asked: SamplerSettings = {},
  teacher: SamplerSettings = {},
  samplers: SamplerRegistry = builtInSamplers,
  where = 'sampler',
): ResolvedSampler {
  const { name: teachersName = 'maskgit', ...teachersOptions } = teacher;
  const { name = teachersName, ...given } = asked;
  const sampler = samplers.get(name);
  if (!sampler)
    throw new OptionError(
      `${where}.name: there is no sampler "${escapeText(String(name))}"; known are ${[...samplers.keys()].join(', ')}`,
    );
  const shared = Object.entries(teachersOptions).filter(
    ([option]) => name === teachersName || (carriedOver.includes(option) && option in sampler.options.shape),
  );
  const wanted = Object.entries(given).filter(([, value]) => value !== undefined);
  const options = parseOptions(sampler.options, Object.fromEntries([...shared, ...wanted]), where);
  const sampling = Object.fromEntries(Object.keys(tokenOptions).map((option) => [option, options[option]]));
  return { sampler, options, sampling: sampling as unknown as ResolvedSampling };
}

/**
 * Checks the settings in a teacher's configuration. Options of a sampler that core does not know are checked when it runs.
 *
 * @param value - what stands there; undefined for none.
 * @throws OptionError as `resolveSampler`, or if it is no object.
 */
export function readSamplerSettings(value: unknown, where: string): SamplerSettings {
  const settings = requireObject(value ?? {}, where) as SamplerSettings;
  if (settings.name === undefined || builtInSamplers.has(settings.name))
    resolveSampler(settings, {}, builtInSamplers, where);
  return settings;
}
