/** What every working command starts with: the configuration, the plugins it names, an engine. */
import type { ChosenEngine } from '@dimo/backend-node';
import { OptionError, type PluginRegistry } from '@dimo/core';
import { refuseIneffective } from '../config/ineffective.js';
import { loadConfig, type LoadedConfig } from '../config/load.js';
import { didYouMean } from '../config/nearest.js';
import type { DimoConfig } from '../config/schema.js';
import type { TypedSettings } from '../flags/flags.js';
import { loadRegistry, type BuiltInPlugin } from './plugins.js';

/** A loaded project. */
export interface Project extends LoadedConfig {
  readonly registry: PluginRegistry;
}

/** Options of `openProject`. */
export interface OpenProjectOptions {
  /** Built-in plugins that the command needs. @default all */
  readonly kinds?: readonly BuiltInPlugin[];
  /** Configuration of a run that is continued; its plugins are not taken over, code is named by the user alone. */
  readonly base?: unknown;
  /** Refuse typed settings that the command does not read. @default true */
  readonly onlyEffective?: boolean;
  /** Adds what follows from the teacher: `withDistillPreset`, of commands that distil. */
  readonly complete?: (loaded: LoadedConfig, registry: PluginRegistry) => Promise<LoadedConfig>;
}

/** Loads the configuration and the plugins. @throws OptionError, PluginError */
export async function openProject(typed: TypedSettings, options: OpenProjectOptions = {}): Promise<Project> {
  const loaded = await loadConfig({
    file: typed.file,
    settings: typed.settings,
    base: options.base,
  });
  // A resumed run brings its settings, but which code runs is still the user's own configuration.
  const own = options.base === undefined || typed.file !== undefined ? loaded : await loadConfig({});
  const plugins = [...new Set([...own.config.plugins, ...typed.plugins])];
  const registry = await loadRegistry(plugins, own.projectFolder, options.kinds);
  // A run that is continued has its settings already.
  const project = options.complete && options.base === undefined ? await options.complete(loaded, registry) : loaded;
  if (options.onlyEffective !== false) refuseIneffective(project, typed.command);
  return { ...project, config: { ...project.config, plugins }, registry };
}

/**
 * Makes the engine of the configuration, one of the built-in ones or of a plugin.
 *
 * @throws OptionError for an unknown name, BackendUnavailableError with the reason and the fix.
 */
export async function openEngine(settings: DimoConfig['engine'], registry: PluginRegistry): Promise<ChosenEngine> {
  const names = ['auto', ...registry.engines.keys()];
  if (!names.includes(settings.name))
    throw new OptionError(
      `engine.name: expected one of ${names.join(', ')}, got "${settings.name}"${didYouMean(settings.name, names)}`,
      { hint: '`dimo doctor` lists the engines that run on this machine' },
    );
  const { chooseEngine } = await import('@dimo/backend-node');
  return chooseEngine(settings.name, {
    engines: [...registry.engines.values()],
    ...(settings.threads === undefined ? {} : { threads: settings.threads }),
  });
}
