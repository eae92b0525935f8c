/** What follows from the dataset of a command: sizes of what is trained, and the run whose result is meant where none is named. */
import { folderWeightSource } from '@dimo/backend-node';
import { OptionError, type PluginRegistry } from '@dimo/core';
import { existsSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { checkConfig } from '../config/check.js';
import { configError, mergedSections, type LoadedConfig } from '../config/load.js';
import { shellQuoted } from '../flags/resume-command.js';
import { printError } from '../output/terminal.js';
import { isPictureFolder, requireDataset } from '../project/datasets.js';
import { readRunConfig } from '../run/folder.js';
import { partOfRun, resolvePart, type RunPart } from '../run/parts.js';
import { distillationPreset, presetNames, teacherPreset, tokenizerPreset, type PresetName } from './picture-presets.js';

type Complete = (loaded: LoadedConfig, registry: PluginRegistry) => Promise<LoadedConfig>;

/** Settings of `dimo train tokenizer` with those of its preset; of a folder of pictures, the smallest one by default. */
export function withTokenizerPreset(quiet: boolean): Complete {
  return async (loaded, registry) => {
    const { config } = loaded;
    const name = config.train.tokenizer.preset ?? (isPictureFolder({ config, registry }) ? 'tiny' : undefined);
    if (name === undefined) return loaded;
    const dataset = await requireDataset({ config, registry }, { quiet });
    return underGiven(loaded, { train: { tokenizer: { preset: name, ...tokenizerPreset(name, dataset) } } });
  };
}

/** Settings of `dimo train teacher`: its preset, and the tokenizer that was trained on the same folder. */
export function withTeacherPreset(quiet: boolean): Complete {
  return async (given, registry) => {
    const isFolder = isPictureFolder({ config: given.config, registry });
    const named = given.config.train.teacher.tokenizer;
    const found = named === undefined && isFolder ? await newestRunOf(given, 'tokenizer', quiet) : undefined;
    const loaded = found === undefined ? given : underGiven(given, { train: { teacher: { tokenizer: found } } });
    const { config } = loaded;
    const { tokenizer, preset = isFolder ? 'tiny' : undefined } = config.train.teacher;
    if (preset === undefined || tokenizer === undefined) return loaded;
    const { readTokenizer } = await import('@dimo/tokenizers');
    const read = await readTokenizer(folderWeightSource(await resolvePart(tokenizer, ['tokenizer', 'teacher'])));
    const { imageShape } = read.tokenizer;
    const dataset = await requireDataset(
      { config, registry },
      { imageShape: [imageShape[0]!, imageShape[1]!, imageShape[2]!], quiet },
    );
    return underGiven(loaded, { train: { teacher: { preset, ...teacherPreset(preset, dataset) } } });
  };
}

/**
 * The teacher of `dimo distill`: where a dataset is named and no teacher, the newest one that was trained on it; steps by the
 * preset that the teacher was trained with.
 */
export function withTeacherOfDataset(quiet: boolean): Complete {
  return async (loaded, registry) => {
    const { config, given, typed } = loaded;
    const where = typed.get('dataset');
    const namesTeacher = [...given].some((key) => key === 'teacher' || key.startsWith('teacher.'));
    if (namesTeacher && where !== undefined)
      throw new OptionError(`${where} has no effect: the teacher is named`, { hint: 'leave it out' });
    const isAsked = where !== undefined || (given.has('dataset') && isPictureFolder({ config, registry }));
    if (namesTeacher || !isAsked) return loaded;
    const source = await newestRunOf(loaded, 'teacher', quiet);
    const preset = presetOf(await readRunConfig(source));
    return underGiven(loaded, { teacher: { source }, ...(preset ? { distill: distillationPreset(preset) } : {}) });
  };
}

/** The preset in the configuration of a run that trained a teacher. */
function presetOf({ train }: Readonly<Record<string, unknown>>): PresetName | undefined {
  const { teacher } = Object(train) as { readonly teacher?: { readonly preset?: unknown } | null };
  return presetNames.find((name) => name === teacher?.preset);
}

/** The configuration with settings under those that a person gives. */
function underGiven(loaded: LoadedConfig, settings: Readonly<Record<string, unknown>>): LoadedConfig {
  const tree = mergedSections(settings, loaded.tree);
  const { config, problems } = checkConfig(tree, () => 'preset');
  if (!config) throw configError(problems);
  return { ...loaded, config, tree };
}

/** The newest run with a result of a kind that was trained on the dataset of a configuration. */
async function newestRunOf({ config }: LoadedConfig, part: RunPart, quiet: boolean): Promise<string> {
  const { dataset, run } = config;
  const names = existsSync(run.folder) ? await readdir(run.folder) : [];
  const runs = names
    .map((name) => join(run.folder, name))
    .filter((folder) => partOfRun(folder, part) !== undefined)
    .map((folder) => ({ folder, written: statSync(partOfRun(folder, part)!).mtimeMs }))
    .sort((a, b) => b.written - a.written);
  for (const { folder } of runs) {
    const { dataset: own } = await readRunConfig(folder).catch(() => ({ dataset: undefined }));
    if (typeof own !== 'string' || (own !== dataset && resolve(own) !== resolve(dataset))) continue;
    if (!quiet) printError(`${part}: ${folder}, the newest of ${dataset}`);
    return folder;
  }
  throw new OptionError(`no run in ${run.folder} has made a ${part} of the dataset ${dataset}`, {
    hint: `run \`dimo train ${part} --dataset ${shellQuoted(dataset)}\` first, or name one with --${part}`,
  });
}
