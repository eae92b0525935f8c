/** What kind of model the files of a folder or a repository are. */
import {
  DimoError,
  escapeText,
  generatorFileNames,
  OptionError,
  readJsonFile,
  teacherDescriptionName,
  type AssumedSetting,
  type PluginRegistry,
  type WeightSource,
} from '@dimo/core';

/** A model in a layout of ours, or in a public one that a plugin recognizes. */
export interface ModelLayout {
  readonly kind: 'teacher' | 'generator';
  /** In words. */
  readonly description: string;
  /** Files that belong to it. */
  readonly files: readonly string[];
  /** For public layouts: the plugin and its configuration. */
  readonly teacher?: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** Settings that the files do not hold. */
  readonly assumed: readonly AssumedSetting[];
  /** Why it is taken for a teacher or a generator, where its files may be either. */
  readonly kindReason?: string;
}

/** Files of PyTorch that may hold anything, programs too. */
const pickled = /\.(?:bin|ckpt|pt|pth|pkl|pickle)$/;

/**
 * Recognizes a model by its files.
 *
 * @param source - reading a file may fetch it.
 * @param given - settings of a public layout that its files do not hold.
 * @param as - what it is where its files may be either; what can only be the other stays so.
 * @returns undefined if it is of no known kind.
 * @throws OptionError from a plugin if the model is of its kind, but incomplete.
 */
export async function recognizeModel(
  source: WeightSource,
  { teachers }: Pick<PluginRegistry, 'teachers'>,
  given: Readonly<Record<string, unknown>> = {},
  as?: ModelLayout['kind'],
): Promise<ModelLayout | undefined> {
  const layout = await recognizeLayout(source, teachers, given, as);
  const [setting] = Object.keys(given);
  if (layout && !layout.teacher && setting !== undefined)
    throw new OptionError(
      `--set ${escapeText(setting, 80)}: this is a ${layout.description}, whose files say everything`,
      {
        path: source.location,
        hint: 'settings are for public checkpoints, whose files do not',
      },
    );
  return layout;
}

async function recognizeLayout(
  source: WeightSource,
  teachers: PluginRegistry['teachers'],
  given: Readonly<Record<string, unknown>>,
  as: ModelLayout['kind'] | undefined,
): Promise<ModelLayout | undefined> {
  const files = await source.list();
  const ownFiles = files.filter((name) => !name.includes('/'));
  if (files.includes(teacherDescriptionName))
    return { kind: 'teacher', description: 'teacher of dimo', files: dataFiles(ownFiles), assumed: [] };
  if (files.includes(generatorFileNames.description) && (await isGeneratorDescription(source)))
    return { kind: 'generator', description: 'one-step generator of dimo', files: dataFiles(ownFiles), assumed: [] };
  for (const plugin of teachers.values()) {
    const found = await plugin.recognize?.(source, given, as);
    if (!found) continue;
    const { kind, description, config, assumed = [], kindReason } = found;
    return {
      kind,
      description,
      files: found.files,
      teacher: { name: plugin.name, config },
      assumed,
      ...(kindReason === undefined ? {} : { kindReason }),
    };
  }
  return undefined;
}

/** Folders of a source that are looked into for models. */
const maximumFolders = 16;

/** The names of the folders in a source that hold a model each, as repositories of several models have them. */
async function modelFolders(source: WeightSource, registry: Pick<PluginRegistry, 'teachers'>): Promise<string[]> {
  const files = await source.list();
  const folders = [...new Set(files.flatMap((name) => (name.includes('/') ? [name.split('/')[0]!] : [])))];
  const found: string[] = [];
  for (const folder of folders.slice(0, maximumFolders)) {
    // A model that is not complete is one too, for this purpose.
    const layout = await recognizeModel(folderOf(source, folder), registry).catch(() => true);
    if (layout) found.push(folder);
  }
  return found;
}

/** One folder of a source. */
function folderOf(source: WeightSource, folder: string): WeightSource {
  const { open } = source;
  const prefix = `${folder}/`;
  return {
    location: `${source.location}/${folder}`,
    list: async () =>
      (await source.list()).flatMap((name) => (name.startsWith(prefix) ? name.slice(prefix.length) : [])),
    read: (name) => source.read(prefix + name),
    ...(open ? { open: (name: string) => open(prefix + name) } : {}),
  };
}

/** The class of a part of a pipeline that lies at the root of a source, such as a transformer without its parent folder. */
async function partClass(source: WeightSource, files: readonly string[]): Promise<string | undefined> {
  if (!files.includes('config.json')) return undefined;
  const config = await readJsonFile(source, 'config.json').catch(() => undefined);
  const name =
    typeof config === 'object' && config !== null && '_class_name' in config ? config._class_name : undefined;
  return typeof name === 'string' ? name : undefined;
}

/** What to say of files that are no model. */
export async function unknownModelError(
  source: WeightSource,
  registry: PluginRegistry,
  { isOnHub = false }: { readonly isOnHub?: boolean } = {},
): Promise<OptionError> {
  const { teachers } = registry;
  const files = await source.list();
  const folders = await modelFolders(source, registry);
  const part = await partClass(source, files);
  const known = [...teachers.values()].filter((plugin) => plugin.recognize).map(({ name }) => name);
  const pickles = files.filter((name) => pickled.test(name));
  const shown = files.slice(0, 8).map((name) => escapeText(name, 80));
  const rest = files.length > shown.length ? ` and ${files.length - shown.length} more` : '';
  return new OptionError(
    `${escapeText(source.location)} is no model that is known here: neither a teacher nor a generator of dimo, ` +
      `nor a public layout of ${known.join(', ') || 'a plugin'}; its files are ${shown.join(', ') || 'none'}${rest}`,
    {
      path: source.location,
      hint:
        folders.length > 0
          ? `models are in its folders; name one of them: ${folders.map((name) => escapeText(name, 80)).join(', ')}`
          : part !== undefined
            ? `this is one part of a model (${escapeText(part, 80)}); name the folder above it, which holds all parts`
            : pickles.length > 0
              ? isOnHub
                ? `${escapeText(pickles[0]!, 80)} is pickled and is not fetched from hubs; download it yourself and import the folder, or convert it to safetensors`
                : 'no weight file holds tensors of such a model; name the folder with the checkpoints of transformer and tokenizer, or add the plugin that reads these with --plugin'
              : 'name the folder of one model, or add the plugin that reads it with --plugin',
    },
  );
}

/** Our own folders hold JSON and safetensors, nothing else. */
function dataFiles(files: readonly string[]): string[] {
  return files.filter((name) => name.endsWith('.json') || name.endsWith('.safetensors'));
}

/** True if the description of a generator of ours is there; other models have a config.json too. */
export async function isGeneratorDescription(source: WeightSource): Promise<boolean> {
  const value = await readJsonFile(source, generatorFileNames.description).catch((error: unknown) => {
    if (DimoError.isInstance(error) && error.code === 'option') return undefined;
    throw error;
  });
  return typeof value === 'object' && value !== null && 'format' in value && value.format === 'dimo-generator';
}
