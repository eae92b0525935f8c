/** Datasets by name, and the tokens and conditions that teachers are trained on. */
import { OptionError, type Dataset, type PluginRegistry, type TokenDataset, type TokenDecoder } from '@dimo/core';
import { didYouMean } from '../config/nearest.js';
import type { Project } from './session.js';

/** Loads a dataset of images. @throws OptionError if no plugin has one of that name. */
export async function requireDataset(name: string, registry: PluginRegistry): Promise<Dataset> {
  const plugin = registry.datasets.get(name);
  if (plugin) return plugin.load();
  throw unknownDataset(name, [...registry.datasets.keys()], 'dataset of images');
}

/**
 * The dataset that a teacher's images are compared with, or undefined where there is none to compare with: the teacher
 * makes sequences, the configuration names tokens, or it names nothing and the default has images of another size.
 *
 * @throws OptionError if the dataset was named but its images have another size.
 */
export async function evaluationDataset(
  { config, registry, given }: Pick<Project, 'config' | 'registry' | 'given'>,
  decoder: TokenDecoder | undefined,
): Promise<Dataset | undefined> {
  if (!decoder || registry.tokenDatasets.has(config.dataset)) return undefined;
  const dataset = await requireDataset(config.dataset, registry);
  if (dataset.imageShape.join() === decoder.imageShape.join()) return dataset;
  if (!given.has('dataset')) return undefined;
  throw new OptionError(
    `eval: the images of ${dataset.name} are [${dataset.imageShape.join(', ')}], the teacher makes [${decoder.imageShape.join(', ')}]`,
    { hint: 'name the dataset that the teacher was trained on with --dataset' },
  );
}

/** Loads a dataset of tokens, if a plugin has one of that name. */
export async function findTokenDataset(name: string, registry: PluginRegistry): Promise<TokenDataset | undefined> {
  const plugin = registry.tokenDatasets.get(name);
  if (plugin) return plugin.load();
  if (registry.datasets.has(name)) return undefined;
  throw unknownDataset(name, [...registry.datasets.keys(), ...registry.tokenDatasets.keys()], 'dataset');
}

function unknownDataset(name: string, known: readonly string[], kind: string): OptionError {
  const nearest = didYouMean(name, known);
  return new OptionError(
    `no plugin provides the ${kind} "${name}"; known are ${known.join(', ') || 'none'}${nearest}`,
    {
      hint: 'add the package or file that provides it with --plugin, or under `plugins` of your configuration',
    },
  );
}
