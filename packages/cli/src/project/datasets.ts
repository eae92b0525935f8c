/** Datasets by name or folder, and the tokens and conditions that teachers are trained on. */
import { OptionError, type Dataset, type PluginRegistry, type TokenDataset, type TokenDecoder } from '@dimo/core';
import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { didYouMean } from '../config/nearest.js';
import type { DimoConfig } from '../config/schema.js';
import { printError } from '../output/terminal.js';
import { createProgress } from '../run/progress.js';
import type { Project } from './session.js';

/** What chooses a dataset. */
export interface DatasetChoice {
  readonly config: Pick<DimoConfig, 'dataset' | 'pictures'>;
  readonly registry: Pick<PluginRegistry, 'datasets' | 'tokenDatasets'>;
}

/** How pictures are opened. */
export interface OpenDatasetOptions {
  /** Shape that pictures are brought to: that of the model that they are for. @default that of the configuration */
  readonly imageShape?: Dataset['imageShape'];
  /** Without lines about pictures that are decoded or left out. @default false */
  readonly quiet?: boolean;
}

/** True if a dataset is a folder of pictures: no plugin has one of that name, and it is a path or names a folder here. */
export function isPictureFolder({ config: { dataset }, registry }: DatasetChoice): boolean {
  if (registry.datasets.has(dataset) || registry.tokenDatasets.has(dataset)) return false;
  return /[/\\]/.test(dataset) || dataset === '.' || dataset === '..' || isFolder(dataset);
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** Name of a dataset for people and folders of runs: of a folder, its last part. */
export function datasetName(dataset: string): string {
  return /[/\\]/.test(dataset) || dataset.startsWith('.') ? basename(resolve(dataset)) || 'pictures' : dataset;
}

/**
 * Loads a dataset of images: of a plugin by its name, else a folder of pictures.
 *
 * @throws OptionError if there is none, or pictures of it cannot be used.
 */
export async function requireDataset(choice: DatasetChoice, options: OpenDatasetOptions = {}): Promise<Dataset> {
  const { config, registry } = choice;
  const plugin = registry.datasets.get(config.dataset);
  if (plugin) return plugin.load();
  if (isPictureFolder(choice)) return openPictures(config, options);
  throw unknownDataset(config.dataset, [...registry.datasets.keys()], 'dataset of images');
}

const opened = new Map<string, Promise<Dataset>>();

/** A folder of pictures, opened once in a process: a command asks for it several times. */
function openPictures({ dataset, pictures }: DatasetChoice['config'], options: OpenDatasetOptions): Promise<Dataset> {
  const { imageShape } = options;
  const [height, width, channels] = imageShape ?? [];
  const settings = imageShape
    ? {
        ...pictures,
        size: [height!, width!] as [number, number],
        channels: channels === 1 ? ('gray' as const) : ('rgb' as const),
      }
    : pictures;
  const key = JSON.stringify([resolve(dataset), settings]);
  const known = opened.get(key) ?? decodePictures(dataset, settings, options.quiet ?? false);
  opened.set(key, known);
  known.catch(() => opened.delete(key));
  return known;
}

async function decodePictures(folder: string, settings: DimoConfig['pictures'], quiet: boolean): Promise<Dataset> {
  const { openPictureFolder } = await import('@dimo/datasets');
  let progress: ReturnType<typeof createProgress> | undefined;
  try {
    const dataset = await openPictureFolder(folder, {
      ...settings,
      onProgress: (done, total) => {
        progress ??= createProgress({
          ...{ label: 'pictures', numSteps: total, firstStep: 0, batchSize: 1, unit: 'pictures/s' },
          ...{ everySeconds: 5, quiet },
        });
        progress.update({ step: done, numbers: [] });
      },
    });
    progress?.finish();
    const { train, test, classNames, imageShape, bad, numBad } = dataset;
    if (quiet) return dataset;
    if (numBad > 0)
      printError(
        `warning: ${numBad} pictures of ${folder} are left out (pictures.onBadPicture): ${bad
          .slice(0, 3)
          .map(({ name, reason }) => `${name}: ${reason}`)
          .join('; ')}${numBad > 3 ? '; ...' : ''}`,
      );
    const classes = classNames.length === 1 ? 'without classes' : `of ${classNames.length} classes`;
    printError(
      `${train.count} pictures of ${folder} to train on and ${test.count} to test with, ${classes}, as images [${imageShape.join(', ')}]`,
    );
    return dataset;
  } finally {
    progress?.finish();
  }
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
  { quiet = false }: Pick<OpenDatasetOptions, 'quiet'> = {},
): Promise<Dataset | undefined> {
  if (!decoder || registry.tokenDatasets.has(config.dataset)) return undefined;
  const [height, width, channels] = decoder.imageShape;
  const dataset = await requireDataset({ config, registry }, { imageShape: [height, width, channels], quiet });
  if (dataset.imageShape.join() === decoder.imageShape.join()) return dataset;
  if (!given.has('dataset')) return undefined;
  throw new OptionError(
    `eval: the images of ${dataset.name} are [${dataset.imageShape.join(', ')}], the teacher makes [${decoder.imageShape.join(', ')}]`,
    { hint: 'name the dataset that the teacher was trained on with --dataset' },
  );
}

/** Loads a dataset of tokens, if a plugin has one of that name. */
export async function findTokenDataset(choice: DatasetChoice): Promise<TokenDataset | undefined> {
  const { config, registry } = choice;
  const plugin = registry.tokenDatasets.get(config.dataset);
  if (plugin) return plugin.load();
  if (registry.datasets.has(config.dataset) || isPictureFolder(choice)) return undefined;
  throw unknownDataset(config.dataset, [...registry.datasets.keys(), ...registry.tokenDatasets.keys()], 'dataset');
}

function unknownDataset(name: string, known: readonly string[], kind: string): OptionError {
  const nearest = didYouMean(name, known);
  return new OptionError(
    `no plugin provides the ${kind} "${name}"; known are ${known.join(', ') || 'none'}${nearest}, and there is no folder of that name`,
    {
      hint: 'name a folder of pictures, or add the package or file that provides it with --plugin, or under `plugins` of your configuration',
    },
  );
}
