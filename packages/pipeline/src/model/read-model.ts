/** Teachers and generators from the files of a folder. Folders are data: they can choose among the plugins. */
import {
  escapeText,
  generatorBundleSource,
  generatorFileNames,
  isRecord,
  OptionError,
  readGenerator,
  readJsonFile,
  readTeacherDescription,
  teacherDescriptionName,
  type LoadedGenerator,
  type Teacher,
  type TeacherPlugin,
  type WeightSource,
} from '@dimo/core';
import { withTorchWeights } from '@dimo/core/weight-files';

/** Teacher plugins by name, each loaded when a model asks for it. */
export type TeacherPlugins = Readonly<Record<string, () => Promise<TeacherPlugin>>>;

/** What a folder holds, read when it is asked for: a teacher, a generator, or both. */
export interface ModelFolder {
  /** @throws OptionError or WeightError */
  readonly teacher?: () => Promise<Teacher>;
  /** @throws OptionError or WeightError */
  readonly generator?: () => Promise<LoadedGenerator>;
}

/**
 * What is in a folder of a generator, of a teacher, of a teacher with its generator, or of a run; or in one file of a whole
 * generator. Weights are read when they are asked for.
 *
 * @param teacherName - the plugin that reads the teacher, where that is known. @default what the folder says
 * @throws OptionError if it is none of them or of a kind that no plugin reads.
 */
export async function readModelFolder(
  source: WeightSource,
  plugins: TeacherPlugins,
  teacherName?: string,
): Promise<ModelFolder> {
  const names = await source.list();
  if (!names.some((name) => name.endsWith('.bin'))) return modelIn(source, plugins, teacherName);
  return modelIn(withTorchWeights(source), plugins, teacherName);
}

async function modelIn(source: WeightSource, plugins: TeacherPlugins, teacherName?: string): Promise<ModelFolder> {
  const files = await source.list();
  const [only] = files;
  if (files.length === 1 && only?.endsWith('.safetensors'))
    return {
      generator: once(async () => readGeneratorOf(generatorBundleSource(await source.read(only), only), plugins)),
    };
  const teacher = await teacherIn(source, files, plugins, teacherName);
  if (teacher) return { teacher, ...nestedGenerator(source, files, plugins) };
  const description = files.includes(generatorFileNames.description)
    ? await readJsonFile(source, generatorFileNames.description)
    : undefined;
  if (isRecord(description) && description['format'] === 'dimo-generator')
    return { generator: once(() => readGeneratorOf(source, plugins)) };
  const recognized = await recognizedTeacher(source, plugins);
  if (recognized) return { teacher: recognized, ...nestedGenerator(source, files, plugins) };
  // A run: a teacher or a generator, each in a folder of its own.
  const inRun = await teacherIn(folderInside(source, files, 'teacher'), namesInside(files, 'teacher'), plugins);
  const run: ModelFolder = { ...(inRun ? { teacher: inRun } : {}), ...nestedGenerator(source, files, plugins) };
  if (run.teacher ?? run.generator) return run;
  const shown = files.slice(0, 8).map((name) => escapeText(name, 80));
  throw new OptionError(
    `${escapeText(source.location)} holds no model that is known here; its files are ${shown.join(', ') || 'none'}${files.length > shown.length ? ' and more' : ''}`,
    {
      path: source.location,
      hint: 'name the generator/ folder of a run, the folder of a teacher, or the .safetensors file of a whole generator',
    },
  );
}

/** The teacher whose plugin is known, by name or by the folder's own description. */
async function teacherIn(
  source: WeightSource,
  files: readonly string[],
  plugins: TeacherPlugins,
  teacherName?: string,
): Promise<ModelFolder['teacher']> {
  if (files.includes(teacherDescriptionName)) {
    const { name, config } = await readTeacherDescription(source);
    const plugin = await pluginFor(name, plugins, source);
    return once(() => plugin.load(config, source));
  }
  if (teacherName === undefined) return undefined;
  const plugin = await pluginFor(teacherName, plugins, source);
  return once(() => plugin.load({}, source));
}

/** A teacher in a public layout. */
async function recognizedTeacher(source: WeightSource, plugins: TeacherPlugins): Promise<ModelFolder['teacher']> {
  for (const load of Object.values(plugins)) {
    const plugin = await load();
    const found = await plugin.recognize?.(source);
    if (found?.kind === 'teacher') return once(() => plugin.load(found.config, source));
  }
  return undefined;
}

/** The generator that lies in a folder of its own, as in the presets and in runs. */
function nestedGenerator(
  source: WeightSource,
  files: readonly string[],
  plugins: TeacherPlugins,
): Pick<ModelFolder, 'generator'> {
  if (!files.includes(`generator/${generatorFileNames.description}`)) return {};
  return { generator: once(() => readGeneratorOf(folderInside(source, files, 'generator'), plugins)) };
}

function namesInside(files: readonly string[], folder: string): string[] {
  return files.flatMap((name) => (name.startsWith(`${folder}/`) ? name.slice(folder.length + 1) : []));
}

function folderInside(source: WeightSource, files: readonly string[], folder: string): WeightSource {
  const { open } = source;
  return {
    location: `${source.location}/${folder}`,
    list: () => Promise.resolve(namesInside(files, folder)),
    read: (name, maximumBytes) => source.read(`${folder}/${name}`, maximumBytes),
    ...(open ? { open: (name: string) => open.call(source, `${folder}/${name}`) } : {}),
  };
}

/** Reads once, and again only after a failure. */
export function once<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | undefined;
  return () => {
    reading ??= read().catch((error: unknown) => {
      reading = undefined;
      throw error;
    });
    return reading;
  };
}

async function readGeneratorOf(source: WeightSource, plugins: TeacherPlugins): Promise<LoadedGenerator> {
  const description = await readJsonFile(source, generatorFileNames.description);
  const teacher = isRecord(description) ? description['teacher'] : undefined;
  const name = isRecord(teacher) ? teacher['name'] : undefined;
  // Whatever else is wrong with the description `readGenerator` says.
  const known = typeof name === 'string' ? new Map([[name, await pluginFor(name, plugins, source)]]) : new Map();
  return readGenerator(source, known);
}

/** @throws OptionError if there is no such plugin */
export async function pluginFor(
  name: string,
  plugins: TeacherPlugins,
  { location }: WeightSource,
): Promise<TeacherPlugin> {
  const load = Object.hasOwn(plugins, name) ? plugins[name] : undefined;
  if (load) return load();
  throw new OptionError(
    `${escapeText(location)}: made with the teacher "${escapeText(name, 100)}", which is not known here; known are ${Object.keys(plugins).join(', ')}`,
    { path: location, hint: 'give the plugin that reads it with the option `teachers`' },
  );
}
