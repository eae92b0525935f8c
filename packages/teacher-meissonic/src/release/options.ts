/** The configuration of a public layout: what its files do not say, or say wrongly. */
import { describeValue, OptionError, refuseUnknownKeys, requireObject, type PlainObject } from '@dimo/core';
import { timestepModes, type TimestepMode } from '../transformer/timestep.js';
import { meissonicName } from '../teacher-config.js';
import type { ReleaseOptions } from './read-release.js';
import type { ReleaseTeacherOptions } from './release-teacher.js';

/** Options of reading a release and of the teacher that it becomes. */
export type ReleaseConfig = ReleaseOptions & Omit<ReleaseTeacherOptions, 'prompts'>;

const parts = ['transformer', 'vqvae', 'textEncoder'] as const;
const teacherKeys = ['sampler', 'negativePrompt', 'microConditions'];

/**
 * Checks a configuration `{ layout, grid, timestepMode, transformer, vqvae, textEncoder, sampler, negativePrompt,
 * microConditions }`; the parts hold values over those of their `config.json`.
 *
 * @throws OptionError
 */
export function releaseOptions(config: PlainObject, layout: 'release' | 'released-generator'): ReleaseConfig {
  refuseUnknownKeys(config, ['layout', 'grid', 'timestepMode', ...parts, ...teacherKeys], meissonicName);
  if (config['layout'] !== layout)
    throw new OptionError(`meissonic.layout must be "${layout}" here, got ${describeValue(config['layout'])}`);
  const { grid, timestepMode } = config;
  if (timestepMode !== undefined && !timestepModes.includes(timestepMode as TimestepMode))
    throw new OptionError(`meissonic.timestepMode must be one of ${timestepModes.join(', ')}`);
  const given = parts.filter((part) => config[part] !== undefined);
  return {
    ...(grid === undefined ? {} : { grid: grid as NonNullable<ReleaseOptions['grid']> }),
    ...(timestepMode === undefined ? {} : { timestepMode: timestepMode as TimestepMode }),
    parts: Object.fromEntries(given.map((part) => [part, requireObject(config[part], `${meissonicName}.${part}`)])),
    ...Object.fromEntries(teacherKeys.flatMap((key) => (config[key] === undefined ? [] : [[key, config[key]]]))),
  };
}
