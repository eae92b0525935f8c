/** The architectures that a configuration leads to, for `dimo info config`: with the defaults of tokenizer and teacher. */
import { folderWeightSource } from '@dimo/backend-node';
import { DimoError, type Dataset, type PluginRegistry } from '@dimo/core';
import { defineTokenizer, readTokenizer, tokenizerConfigFor } from '@dimo/tokenizers';
import { mergedSections } from '../config/load.js';
import type { DimoConfig } from '../config/schema.js';
import { requireDataset } from '../project/datasets.js';
import { trainedTeacherPlugin } from './models.js';
import { resolvePart } from '../run/parts.js';

/**
 * The configuration with the complete keys of `train.tokenizer.config` and `train.teacher.config`, sizes as they follow
 * from the dataset. What cannot be resolved here, for want of a package or a folder, stays as it is written.
 */
export async function withArchitectures(config: DimoConfig, registry: PluginRegistry): Promise<DimoConfig> {
  const { train } = config;
  const dataset = await ifPossible(async () =>
    registry.tokenDatasets.has(config.dataset) ? undefined : requireDataset({ config, registry }, { quiet: true }),
  );
  const tokenizer = await ifPossible(() =>
    defineTokenizer(
      dataset ? tokenizerConfigFor(train.tokenizer.config, dataset.imageShape) : train.tokenizer.config,
      'train.tokenizer.config',
    ),
  );
  const teacher = await ifPossible(() => teacherConfig(config, registry, { dataset, tokenizer: tokenizer?.config }));
  return {
    ...config,
    train: {
      tokenizer: { ...train.tokenizer, config: { ...(tokenizer?.config ?? train.tokenizer.config) } },
      teacher: { ...train.teacher, config: { ...(teacher ?? train.teacher.config) } },
    },
  };
}

async function teacherConfig(
  { teacher, train }: DimoConfig,
  registry: PluginRegistry,
  from: { readonly dataset: Dataset | undefined; readonly tokenizer: Readonly<Record<string, unknown>> | undefined },
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const plugin = trainedTeacherPlugin({ teacher }, registry);
  const given = mergedSections(teacher.config, train.teacher.config);
  if (!plugin.completeConfig) return plugin.define(given).config;
  const { tokenizer: folder } = train.teacher;
  const tokenizer =
    folder === undefined
      ? from.tokenizer
      : (await readTokenizer(folderWeightSource(await resolvePart(folder, ['tokenizer', 'teacher'])))).config;
  const { classNames } = from.dataset ?? {};
  return plugin.define(plugin.completeConfig(given, { classNames, tokenizer })).config;
}

/** What `work` gives, or undefined if something that it needs is absent or wrong: the command that needs it says so. */
async function ifPossible<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (DimoError.isInstance(error)) return undefined;
    throw error;
  }
}
