/**
 * Plugins: the built-in ones, and those that the user's own configuration or `--plugin` names, by package or by a path
 * inside the project. A name is checked before anything is imported; nothing that arrives with weights can name code.
 */
import { createRegistry, definePlugin, DimoError, PluginError, type DimoPlugin, type PluginRegistry } from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { realpath, stat } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** What a plugin specifier stands for, once it was found to be harmless. */
export type PluginSpecifier =
  { readonly kind: 'package'; readonly name: string } | { readonly kind: 'path'; readonly path: string };

/** npm's package names, with an optional subpath. */
const packageName = /^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*(?:\/[a-zA-Z0-9_-][a-zA-Z0-9._-]*)*$/;
const allowedEndings = ['.js', '.mjs', '.ts', '.mts'];

/**
 * Checks a plugin specifier without touching what it names.
 *
 * @param specifier - from the configuration or the command line.
 * @param projectFolder - folder of the configuration file.
 * @throws PluginError for URLs, Node's own modules, paths out of the project, and anything unprintable.
 */
export async function checkPluginSpecifier(specifier: unknown, projectFolder: string): Promise<PluginSpecifier> {
  const refuse = (why: string): PluginError =>
    new PluginError(`plugin ${JSON.stringify(String(specifier).slice(0, 200))} ${why}`, {
      hint: 'name an installed package (my-teacher) or a file inside the project (./plugins/my-teacher.js)',
    });
  if (typeof specifier !== 'string' || specifier === '' || specifier.length > 512)
    throw refuse('is not a name of 1 to 512 characters');
  // Printable ASCII and letters of other scripts; no controls, bidirectional marks, backslashes or percent escapes.

  if (/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff\\%?#*]/u.test(specifier))
    throw refuse('holds a control, escape or wildcard character');
  if (specifier.includes(':')) throw refuse('is a URL or names a protocol or drive; neither is allowed');
  const isPath = specifier.startsWith('.') || isAbsolute(specifier);
  if (!isPath) {
    if (isBuiltin(specifier)) throw refuse('is a module of Node itself');
    if (!packageName.test(specifier) || specifier.split('/').includes('..'))
      throw refuse('is not the name of a package');
    return { kind: 'package', name: specifier };
  }
  const path = resolve(projectFolder, specifier);
  if (!isInside(resolve(projectFolder), path)) throw refuse(`is outside the project ${projectFolder}`);
  const real = await Promise.all([realpath(projectFolder), realpath(path)]).catch(() => undefined);
  if (!real) throw refuse('does not exist');
  if (!isInside(real[0], real[1])) throw refuse('leads out of the project through a symbolic link');
  if (!(await stat(real[1])).isFile() || !allowedEndings.some((ending) => real[1].endsWith(ending)))
    throw refuse(`is not a file ending in ${allowedEndings.join(', ')}`);
  return { kind: 'path', path: real[1] };
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/**
 * Imports one plugin of the user.
 *
 * @throws PluginError naming the plugin, if its name is refused, it cannot be found, it throws while it is imported, or
 *   exports no plugin of this contract.
 */
export async function loadPlugin(specifier: string, projectFolder: string): Promise<DimoPlugin> {
  const checked = await checkPluginSpecifier(specifier, projectFolder);
  const module = await importPlugin(checked, specifier, projectFolder);
  const plugin = findPlugin(module);
  if (!plugin)
    throw new PluginError(`plugin "${specifier}" exports no plugin as default or as \`plugin\``, {
      hint: 'export default definePlugin({ contract: 2, name, ... }), see docs/plugins.md',
    });
  return definePlugin(plugin);
}

async function importPlugin(checked: PluginSpecifier, specifier: string, projectFolder: string): Promise<unknown> {
  const { createJiti } = await import('jiti');
  const jiti = createJiti(pathToFileURL(join(projectFolder, 'dimo.config.ts')).href, { fsCache: false });
  let location: string;
  try {
    location =
      checked.kind === 'path'
        ? pathToFileURL(checked.path).href
        : jiti.esmResolve(checked.name, { conditions: ['node', 'import'] });
  } catch (cause) {
    throw new PluginError(`plugin "${specifier}" is not installed in ${projectFolder}`, {
      hint: `npm install ${checked.kind === 'package' ? checked.name : specifier}`,
      cause,
    });
  }
  if (checked.kind === 'package') await checkEntry(location, checked.name, projectFolder);
  try {
    return /\.m?ts$/.test(location) ? await jiti.import(location) : ((await import(location)) as unknown);
  } catch (cause) {
    if (DimoError.isInstance(cause)) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new PluginError(`plugin "${specifier}" failed while it was imported: ${message}`, { cause });
  }
}

/**
 * What a package names as its entry must be a file of the package: its package.json is as much a stranger's word as a
 * file with weights. The package itself may be a link, as those of workspaces are.
 *
 * @throws PluginError if it is not.
 */
async function checkEntry(location: string, name: string, projectFolder: string): Promise<void> {
  const refuse = (why: string): PluginError =>
    new PluginError(`plugin ${JSON.stringify(name)} ${why}`, {
      hint: 'the entry of a package (exports, main) must be a file inside the package',
    });
  if (!location.startsWith('file:')) throw refuse('does not resolve to a file');
  const parts = name.split('/').slice(0, name.startsWith('@') ? 2 : 1);
  const folder = await packageFolder(parts, resolve(projectFolder));
  if (folder === undefined) throw refuse(`is not in a node_modules folder of ${projectFolder}`);
  const entry = await realpath(fileURLToPath(location)).catch(() => undefined);
  if (entry === undefined) throw refuse('names an entry that does not exist');
  if (!isInside(folder, entry)) throw refuse(`names an entry outside the package: ${entry}`);
}

/** The real folder of a package, looked for as Node does: in every node_modules on the way up. */
async function packageFolder(parts: readonly string[], from: string): Promise<string | undefined> {
  for (let folder = from; ; folder = dirname(folder)) {
    const found = await realpath(join(folder, 'node_modules', ...parts)).catch(() => undefined);
    if (found !== undefined || dirname(folder) === folder) return found;
  }
}

function findPlugin(module: unknown): DimoPlugin | undefined {
  const exported = module as { default?: unknown; plugin?: unknown } | undefined;
  for (const candidate of [exported?.default, exported?.plugin])
    if (typeof candidate === 'object' && candidate !== null && 'contract' in candidate) return candidate as DimoPlugin;
  return undefined;
}

/** Kinds of built-in plugins, so that a command loads only what it uses. */
export type BuiltInPlugin = 'engines' | 'teachers' | 'datasets';

const builtIn: Readonly<Record<BuiltInPlugin, () => Promise<readonly DimoPlugin[]>>> = {
  engines: async () => [(await import('@dimo/backend-node')).nodeBackendPlugin],
  teachers: async () =>
    [
      (await import('@dimo/teacher-maskgit')).maskgitPlugin,
      (await import('@dimo/teacher-meissonic')).meissonicPlugin,
      (await import('@dimo/teacher-words')).wordsPlugin,
    ].map(withPresets),
  datasets: async () => [(await import('@dimo/datasets')).datasetsPlugin],
};

/** The plugin with those presets that its teachers read. */
function withPresets(plugin: DimoPlugin): DimoPlugin {
  return {
    ...plugin,
    teachers: (plugin.teachers ?? []).map((teacher) => ({
      ...teacher,
      presets: Object.fromEntries(
        Object.values(presets)
          .filter((preset) => preset.teacher === teacher.name)
          .map((preset) => [preset.name, { description: preset.description, location: presetFolder(preset) }]),
      ),
    })),
  };
}

/**
 * The built-in plugins that a command needs, with those of the user.
 *
 * @throws PluginError if one cannot be loaded or two provide the same name.
 */
export async function loadRegistry(
  specifiers: readonly string[],
  projectFolder: string,
  kinds: readonly BuiltInPlugin[] = ['engines', 'teachers', 'datasets'],
): Promise<PluginRegistry> {
  // Every name is checked before the first one is imported.
  for (const specifier of specifiers) await checkPluginSpecifier(specifier, projectFolder);
  const plugins = (await Promise.all(kinds.map((kind) => builtIn[kind]()))).flat();
  for (const specifier of [...new Set(specifiers)]) plugins.push(await loadPlugin(specifier, projectFolder));
  return createRegistry(plugins);
}
