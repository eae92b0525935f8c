/** Datasets by name, and the tokens and conditions that teachers are trained on. */
import { OptionError, type Dataset, type PluginRegistry, type TokenDataset } from '@dimo/core';

/** Loads a dataset of images. @throws OptionError if no plugin has one of that name. */
export async function requireDataset(name: string, registry: PluginRegistry): Promise<Dataset> {
  const plugin = registry.datasets.get(name);
  if (plugin) return plugin.load();
  throw unknownDataset(name, [...registry.datasets.keys()], 'dataset of images');
}

/** Loads a dataset of tokens, if a plugin has one of that name. */
export async function findTokenDataset(name: string, registry: PluginRegistry): Promise<TokenDataset | undefined> {
  const plugin = registry.tokenDatasets.get(name);
  if (plugin) return plugin.load();
  if (registry.datasets.has(name)) return undefined;
  throw unknownDataset(name, [...registry.datasets.keys(), ...registry.tokenDatasets.keys()], 'dataset');
}

function unknownDataset(name: string, known: readonly string[], kind: string): OptionError {
  return new OptionError(`no plugin provides the ${kind} "${name}"; known are ${known.join(', ') || 'none'}`, {
    hint: 'add the package or file that provides it with --plugin, or under `plugins` of your configuration',
  });
}
