/** The door: from the name of a model to a model that can be called. Node and browsers say where files and engines are. */
import { asTeacher, OptionError, type EngineOptions, type WeightSource } from '@dimo/core';
import { findPreset, presets } from '@dimo/presets';
import { asDimoError, createGenerate, type Generate } from '../generate/generate.js';
import { readModelFolder, type ModelFolder, type TeacherPlugins } from '../model/read-model.js';
import { throwIfAborted } from '../model/resident-model.js';
import { bundledTeachers } from '../teachers.js';
import type { OpeningContext, PipelineHost, PipelineOptions } from './host.js';
import { checkPipelineOptions } from './options.js';

/** Where a model is. */
export type ModelPlace = string | URL | WeightSource;

/** `pipeline` of a host. */
export type Pipeline<Options extends EngineOptions = EngineOptions> = (
  model: ModelPlace,
  options?: PipelineOptions<Options>,
) => Promise<Generate>;

/** Makes the door of a host. */
export function definePipeline<Options extends EngineOptions>(host: PipelineHost<Options>): Pipeline<Options> {
  return async (model, given = {}) => {
    const options = checkPipelineOptions<Options>(given, host);
    const { engine, batchSize, registry } = options;
    const name = nameOf(model, host.places);
    throwIfAborted(options.signal);
    const teachers: TeacherPlugins = {
      ...bundledTeachers,
      ...Object.fromEntries([...registry.teachers].map(([key, plugin]) => [key, () => Promise.resolve(plugin)])),
    };
    const loading = detachable(options, teachers);
    const { context } = loading;
    const { signal } = context;
    try {
      const preset = typeof model === 'string' ? findPreset(model) : undefined;
      const isPlace = !preset && (typeof model === 'string' || model instanceof URL);
      const imported = isPlace ? await host.openImport?.(String(model), context) : undefined;
      const sourceOf = () =>
        typeof model === 'object' && !(model instanceof URL)
          ? model
          : preset
            ? host.openPreset(preset.name, context)
            : host.openPlace(String(model), context);
      // Read before an engine is made: a model that does not fit is refused sooner.
      const folder = await networksOf(imported ?? (await readModelFolder(await sourceOf(), teachers, preset?.teacher)));
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
          readImage: host.readImage,
        });
      } catch (error) {
        if (typeof engine === 'string') await opened.engine.dispose();
        throw error;
      }
    } catch (error) {
      throw asDimoError(error, `"${name}"`);
    } finally {
      loading.detach();
    }
  };
}

/**
 * The signal and the listener of the loading, which hold until it ends: sources keep them, and files that are read by a
 * later call have nothing to do with either.
 */
function detachable(
  { signal, presets, onProgress }: Pick<PipelineOptions, 'signal' | 'presets' | 'onProgress'>,
  teachers: TeacherPlugins,
) {
  const controller = new AbortController();
  let listener = onProgress;
  const stop = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', stop);
  const context: OpeningContext = {
    signal: controller.signal,
    presets,
    teachers,
    onProgress: (progress) => listener?.(progress),
  };
  const detach = (): void => {
    signal?.removeEventListener('abort', stop);
    listener = undefined;
  };
  return { context, detach };
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
