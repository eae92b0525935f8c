/** The door: from the name of a model to a model that can be called. Node and browsers say where files and engines are. */
import {
  asTeacher,
  contractVersion,
  createRegistry,
  escapeText,
  OptionError,
  refuseUnknownKeys,
  requireInteger,
  requireObject,
  type Engine,
  type EngineOptions,
  type Sampler,
  type TeacherPlugin,
  type WeightSource,
} from '@dimo/core';
import { findPreset, presets } from '@dimo/presets';
import { asDimoError, createGenerate, type Generate } from '../generate/generate.js';
import { readModelFolder, type ModelFolder, type TeacherPlugins } from '../model/read-model.js';
import { throwIfAborted } from '../model/resident-model.js';
import type { SaveFile } from '../pictures/picture.js';
import { bundledTeachers } from '../teachers.js';

/** How loading goes. */
export type LoadingProgress =
  /** Bytes of a file that have arrived; `totalBytes` where somebody has said so. */
  | {
      readonly stage: 'files';
      readonly file: string;
      readonly loadedBytes: number;
      readonly totalBytes: number | undefined;
    }
  /** An engine that is tried or measured. */
  | { readonly stage: 'engine'; readonly engine: string };

/** Options of `pipeline`. */
export interface PipelineOptions<Options extends EngineOptions = EngineOptions> {
  /** Name of an engine, `auto` for the fastest here, or an engine, which stays the caller's. @default 'auto' */
  readonly engine?: string | Engine | undefined;
  /** For the engine. */
  readonly engineOptions?: Options | undefined;
  /** Teachers beside those of this project. */
  readonly teachers?: readonly TeacherPlugin[] | undefined;
  /** Samplers beside those of core. */
  readonly samplers?: readonly Sampler[] | undefined;
  /** Pictures computed at once: 1, 2, 4, ... 256. @default 8 */
  readonly batchSize?: number | undefined;
  /** Browsers: address of a folder that has those of the presets in it. @default where the bundler has put their files */
  readonly presets?: string | undefined;
  /** Ends the loading with an error of code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadingProgress) => void) | undefined;
}

/** What a host is told while something is opened. */
export interface OpeningContext {
  readonly signal: AbortSignal | undefined;
  readonly presets: string | undefined;
  onProgress(progress: LoadingProgress): void;
}

/** Where files and engines come from. */
export interface PipelineHost<Options extends EngineOptions> {
  /** Names of engines, without `auto`. */
  readonly engines: readonly string[];
  openEngine(
    name: string,
    options: Options | undefined,
    context: OpeningContext,
  ): Promise<{ readonly engine: Engine; readonly explanation: string }>;
  /** The files of a preset. */
  openPreset(name: string, context: OpeningContext): Promise<WeightSource> | WeightSource;
  /** The files at a place that is no preset. @throws OptionError if it can be none */
  openPlace(place: string, context: OpeningContext): Promise<WeightSource> | WeightSource;
  /** What a place can be, for messages. */
  readonly places: string;
  readonly saveFile: SaveFile;
}

/** Where a model is. */
export type ModelPlace = string | URL | WeightSource;

/** `pipeline` of a host. */
export type Pipeline<Options extends EngineOptions = EngineOptions> = (
  model: ModelPlace,
  options?: PipelineOptions<Options>,
) => Promise<Generate>;

const knownKeys = ['engine', 'engineOptions', 'teachers', 'samplers', 'batchSize', 'presets', 'signal', 'onProgress'];

/** Makes the door of a host. */
export function definePipeline<Options extends EngineOptions>(host: PipelineHost<Options>): Pipeline<Options> {
  return async (model, given = {}) => {
    const options = requireObject(given, 'pipeline: options') as PipelineOptions<Options>;
    refuseUnknownKeys(options as Record<string, unknown>, knownKeys, 'pipeline');
    const { engine = 'auto', batchSize = 8, signal } = options;
    const name = nameOf(model, host.places);
    requireInteger(batchSize, 'pipeline: batchSize', 1, undefined, 256);
    if (!Number.isInteger(Math.log2(batchSize)))
      throw new OptionError(`pipeline: batchSize must be 1, 2, 4, 8, ... 256, got ${batchSize}`);
    checkEngine(engine, host.engines);
    const registry = createRegistry([
      {
        contract: contractVersion,
        name: 'options of the pipeline',
        samplers: options.samplers ?? [],
        teachers: options.teachers ?? [],
      },
    ]);
    throwIfAborted(signal);
    const context: OpeningContext = {
      signal,
      presets: options.presets,
      onProgress: (progress) => options.onProgress?.(progress),
    };
    const teachers: TeacherPlugins = {
      ...bundledTeachers,
      ...Object.fromEntries([...registry.teachers].map(([key, plugin]) => [key, () => Promise.resolve(plugin)])),
    };
    try {
      const preset = typeof model === 'string' ? findPreset(model) : undefined;
      const source =
        typeof model === 'object' && !(model instanceof URL)
          ? model
          : preset
            ? await host.openPreset(preset.name, context)
            : await host.openPlace(String(model), context);
      // Read before an engine is made: a model that does not fit is refused sooner.
      const folder = await networksOf(await readModelFolder(source, teachers, preset?.teacher));
      throwIfAborted(signal);
      const opened =
        typeof engine === 'string'
          ? await host.openEngine(engine, options.engineOptions, context)
          : { engine, explanation: `engine ${engine.info.name} on ${engine.info.device}, as given` };
      try {
        throwIfAborted(signal);
        return await createGenerate({
          ...folder,
          ...opened,
          model: name,
          ownsEngine: typeof engine === 'string',
          samplers: registry.samplers,
          batchSize,
          saveFile: host.saveFile,
        });
      } catch (error) {
        if (typeof engine === 'string') await opened.engine.dispose();
        throw error;
      }
    } catch (error) {
      throw asDimoError(error, `"${name}"`);
    }
  };
}

/** What draws: a generator that takes several passes is sampled as a teacher is. */
async function networksOf(folder: ModelFolder): Promise<ModelFolder> {
  if (!folder.generator) {
    await folder.teacher?.();
    return folder;
  }
  const generator = await folder.generator();
  if (!generator.description.sampler) return folder;
  const teacher = asTeacher(generator);
  return { teacher: () => Promise.resolve(teacher) };
}

function nameOf(model: ModelPlace, places: string): string {
  const wrong = (got: string): OptionError =>
    new OptionError(`pipeline: the model must be ${places}; got ${got}`, {
      hint: `presets are ${Object.keys(presets).join(', ')}`,
    });
  if (typeof model === 'string') {
    if (model.trim() === '' || model.length > 4096)
      throw wrong(model === '' ? 'nothing' : `a text of ${model.length} characters`);
    return model;
  }
  if (model instanceof URL) return model.href;
  if (
    typeof model !== 'object' ||
    model === null ||
    typeof model.read !== 'function' ||
    typeof model.list !== 'function'
  )
    throw wrong(model === null ? 'null' : typeof model);
  return model.location;
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
