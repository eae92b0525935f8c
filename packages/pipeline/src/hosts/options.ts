/** The options of `pipeline`, checked before anything is loaded. */
import {
  contractVersion,
  createRegistry,
  escapeText,
  OptionError,
  refuseUnknownKeys,
  requireInteger,
  requireObject,
  type Engine,
  type EngineOptions,
  type PluginRegistry,
} from '@dimo/core';
import { defaultBatchSize } from '../generate/options.js';
import { bundledTeachers } from '../teachers.js';
import type { PipelineHost, PipelineOptions } from './host.js';

const knownKeys = ['engine', 'engineOptions', 'teachers', 'samplers', 'batchSize', 'presets', 'signal', 'onProgress'];

/** Checked options. */
export interface CheckedOptions<Options extends EngineOptions> extends PipelineOptions<Options> {
  readonly engine: string | Engine;
  readonly batchSize: number;
  /** Samplers with those of core, and the caller's teachers. */
  readonly registry: Pick<PluginRegistry, 'samplers' | 'teachers'>;
}

/**
 * Checks options.
 *
 * @throws OptionError naming the first one that is wrong, or that nothing here reads.
 * @throws PluginError for two samplers or teachers of one name.
 */
export function checkPipelineOptions<Options extends EngineOptions>(
  given: unknown,
  host: Pick<PipelineHost<Options>, 'engines' | 'engineOptions' | 'readsPresets'>,
): CheckedOptions<Options> {
  const raw = requireObject(given, 'pipeline: options');
  refuseUnknownKeys(raw, knownKeys, 'pipeline');
  const { engine = 'auto', engineOptions, batchSize = defaultBatchSize, presets, signal, onProgress } = raw;
  requireInteger(batchSize, 'pipeline: batchSize', 1, undefined, 256);
  if (!Number.isInteger(Math.log2(batchSize as number)))
    throw new OptionError(`pipeline: batchSize must be 1, 2, 4, 8, ... 256, got ${String(batchSize)}`);
  checkEngine(engine, host.engines);
  if (engineOptions !== undefined) checkEngineOptions(engineOptions, engine, host.engineOptions);
  if (presets !== undefined && typeof presets !== 'string')
    throw new OptionError(`pipeline: presets must be the address of a folder, got ${typeof presets}`);
  if (presets !== undefined && !host.readsPresets)
    throw new OptionError('pipeline: presets is for browsers; Node reads those of the package @dimo/presets', {
      hint: 'leave it out, or name the folder itself as the model',
    });
  if (signal !== undefined && typeof (signal as AbortSignal | null)?.addEventListener !== 'function')
    throw new OptionError('pipeline: signal must be an AbortSignal');
  if (onProgress !== undefined && typeof onProgress !== 'function')
    throw new OptionError('pipeline: onProgress must be a function');
  checkList(raw['samplers'], 'samplers', ['maximumPasses', 'run'], ['options']);
  checkList(raw['teachers'], 'teachers', ['define', 'load'], []);
  const options = raw as PipelineOptions<Options>;
  const taken = options.teachers?.find(({ name }) => Object.hasOwn(bundledTeachers, name));
  if (taken)
    throw new OptionError(`pipeline: teachers: "${taken.name}" is the name of a teacher of this project`, {
      hint: 'give the plugin another name',
    });
  const registry = createRegistry([
    {
      contract: contractVersion,
      name: 'options of the pipeline',
      samplers: options.samplers ?? [],
      teachers: options.teachers ?? [],
    },
  ]);
  return { ...options, engine: engine as string | Engine, batchSize: batchSize as number, registry };
}

function checkEngine(engine: unknown, names: readonly string[]): void {
  const known = ['auto', ...names];
  if (typeof engine === 'string') {
    if (!known.includes(engine))
      throw new OptionError(`pipeline: engine must be one of ${known.join(', ')}; got "${escapeText(engine, 100)}"`);
    return;
  }
  if (typeof engine !== 'object' || engine === null || typeof (engine as Engine).compile !== 'function')
    throw new OptionError(`pipeline: engine must be a name (${known.join(', ')}) or an engine`);
}

function checkEngineOptions(options: unknown, engine: unknown, known: readonly string[]): void {
  const checked = requireObject(options, 'pipeline: engineOptions');
  if (typeof engine !== 'string')
    throw new OptionError('pipeline: engineOptions are for an engine that is made here; one was given', {
      hint: 'set them where the engine is made',
    });
  refuseUnknownKeys(checked, known, 'pipeline: engineOptions');
}

/** A list of described objects with a name. */
function checkList(
  value: unknown,
  option: 'samplers' | 'teachers',
  functions: readonly string[],
  objects: readonly string[],
): void {
  if (value === undefined) return;
  if (!Array.isArray(value)) throw new OptionError(`pipeline: ${option} must be a list, got ${typeof value}`);
  value.forEach((item: unknown, i) => {
    const where = `pipeline: ${option}[${i}]`;
    const given = requireObject(item, where);
    if (typeof given['name'] !== 'string' || given['name'] === '')
      throw new OptionError(`${where} needs a name, a text that is not empty`);
    const wrong =
      functions.find((key) => typeof given[key] !== 'function') ??
      objects.find((key) => typeof given[key] !== 'object' || given[key] === null);
    if (wrong !== undefined)
      throw new OptionError(`${where} ("${escapeText(given['name'], 100)}") has no ${wrong}`, {
        hint: `make it with ${option === 'samplers' ? 'defineSampler' : 'the contract TeacherPlugin'} of @dimo/core`,
      });
  });
}
