/** Teachers and generators from the files of a folder. Folders are data: they can choose among the worker's plugins. */
import {
  escapeText,
  generatorBundleSource,
  generatorFileNames,
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

/** Teacher plugins by name, each loaded when a model asks for it. */
export type TeacherPlugins = Readonly<Record<string, () => Promise<TeacherPlugin>>>;

/** What a folder holds: a teacher, a generator, or a teacher with a generator in `generator/`. */
export interface ModelFolder {
  readonly teacher?: Teacher;
  readonly generator?: LoadedGenerator;
}

/**
 * Reads a folder of a generator, of a teacher, or of a teacher with its generator; or one file of a whole generator.
 *
 * @throws OptionError if it is none of them or of a kind that no plugin reads; WeightError if the weights do not fit.
 */
export async function readModelFolder(source: WeightSource, plugins: TeacherPlugins): Promise<ModelFolder> {
  const files = await source.list();
  const [only] = files;
  if (files.length === 1 && only?.endsWith('.safetensors'))
    return { generator: await readGeneratorOf(generatorBundleSource(await source.read(only), only), plugins) };
  if (files.includes(teacherDescriptionName)) {
    const { name, config } = await readTeacherDescription(source);
    const teacher = await (await pluginFor(name, plugins, source)).load(config, source);
    return { teacher, ...(await nestedGenerator(source, files, plugins)) };
  }
  const description = files.includes(generatorFileNames.description)
    ? await readJsonFile(source, generatorFileNames.description)
    : undefined;
  if (isRecord(description) && description['format'] === 'dimo-generator')
    return { generator: await readGeneratorOf(source, plugins) };
  for (const load of Object.values(plugins)) {
    const plugin = await load();
    const found = await plugin.recognize?.(source);
    if (found?.kind === 'teacher')
      return { teacher: await plugin.load(found.config, source), ...(await nestedGenerator(source, files, plugins)) };
  }
  const shown = files.slice(0, 8).map((name) => escapeText(name, 80));
  throw new OptionError(
    `${escapeText(source.location)} holds no model that is known here; its files are ${shown.join(', ') || 'none'}${files.length > shown.length ? ' and more' : ''}`,
    {
      path: source.location,
      hint: 'pick the generator/ folder of a run, the folder of a teacher, or a .safetensors file that this page has saved',
    },
  );
}

/** The generator that lies in a teacher's folder, as in the bundled presets. */
async function nestedGenerator(
  source: WeightSource,
  files: readonly string[],
  plugins: TeacherPlugins,
): Promise<Pick<ModelFolder, 'generator'>> {
  const prefix = 'generator/';
  if (!files.includes(prefix + generatorFileNames.description)) return {};
  const { open } = source;
  const nested: WeightSource = {
    location: `${source.location}/generator`,
    list: () => Promise.resolve(files.flatMap((name) => (name.startsWith(prefix) ? name.slice(prefix.length) : []))),
    read: (name) => source.read(prefix + name),
    ...(open ? { open: (name: string) => open.call(source, prefix + name) } : {}),
  };
  return { generator: await readGeneratorOf(nested, plugins) };
}

async function readGeneratorOf(source: WeightSource, plugins: TeacherPlugins): Promise<LoadedGenerator> {
  const description = await readJsonFile(source, generatorFileNames.description);
  const teacher = isRecord(description) ? description['teacher'] : undefined;
  const name = isRecord(teacher) ? teacher['name'] : undefined;
  // Whatever else is wrong with the description `readGenerator` says.
  const known = typeof name === 'string' ? new Map([[name, await pluginFor(name, plugins, source)]]) : new Map();
  return readGenerator(source, known);
}

async function pluginFor(name: string, plugins: TeacherPlugins, { location }: WeightSource): Promise<TeacherPlugin> {
  const load = Object.hasOwn(plugins, name) ? plugins[name] : undefined;
  if (load) return load();
  throw new OptionError(
    `${escapeText(location)}: made with the teacher "${escapeText(name, 100)}", which this page does not know; it knows ${Object.keys(plugins).join(', ')}`,
    { path: location },
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
