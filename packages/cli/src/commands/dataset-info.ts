/** `dimo dataset info`: what a dataset of images holds, and what would be trained on it. */
import { makeFolders } from '@dimo/backend-node';
import { OptionError, type Dataset } from '@dimo/core';
import type { PictureDataset } from '@dimo/datasets';
import { dirname, extname } from 'node:path';
import { stringify } from 'yaml';
import { shellQuoted } from '../flags/resume-command.js';
import type { TypedSettings } from '../flags/flags.js';
import { exitOk } from '../output/failure.js';
import { encodeGrid } from '../output/images.js';
import { cleanText, print, printJson } from '../output/terminal.js';
import { isPictureFolder, requireDataset } from '../project/datasets.js';
import { openProject, type Project } from '../project/session.js';
import { writeFileAtomically } from '../run/folder.js';
import { contactSheet } from '../training/contact-sheet.js';
import { distillationPreset, teacherPreset, tokenizerPreset } from '../training/picture-presets.js';

/** Arguments of `dataset info`. */
export interface DatasetInfoArguments {
  readonly typed: TypedSettings;
  readonly out: string | undefined;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Prints facts and writes a contact sheet. */
export async function datasetInfo({
  typed,
  out = 'contact-sheet.png',
  quiet,
  json,
}: DatasetInfoArguments): Promise<number> {
  if (extname(out) !== '.png') throw new OptionError(`--out must end in .png, got ${JSON.stringify(out)}`);
  const project = await openProject(typed);
  const isFolder = isPictureFolder(project);
  // What cannot be used is told, not a reason to tell nothing.
  const config = { ...project.config, pictures: { ...project.config.pictures, onBadPicture: 'skip' as const } };
  const dataset = await requireDataset({ ...project, config }, { quiet: quiet || json });
  const facts = {
    dataset: project.config.dataset,
    images: [...dataset.imageShape],
    classes: classesOf(dataset),
    ...(isFolder ? { pictures: pictureFacts(dataset as PictureDataset), chosen: chosenFor(project, dataset) } : {}),
  };
  const { images, columns } = await contactSheet(dataset);
  await makeFolders(dirname(out));
  await writeFileAtomically(out, encodeGrid(images, columns).png);
  const next = `dimo train tokenizer --dataset ${shellQuoted(project.config.dataset)}`;
  if (json) printJson({ ...facts, contactSheet: out, next }, 2);
  else print(cleanText(stringify({ ...facts, contactSheet: out, next }).trimEnd()));
  return exitOk;
}

/** Pictures of each class, to train on and to test with. */
function classesOf({ classNames, train, test }: Dataset): Record<string, { train: number; test: number }> {
  const counts = classNames.map(() => ({ train: 0, test: 0 }));
  for (const label of train.labels.data) counts[label]!.train++;
  for (const label of test.labels.data) counts[label]!.test++;
  return Object.fromEntries(classNames.map((name, label) => [name, counts[label]!]));
}

/** What the files are like, and those that are refused. */
function pictureFacts({ files, medianSide, numBad, bad }: PictureDataset) {
  return {
    formats: files.formats,
    smallest: files.smallest.join(' x '),
    largest: files.largest.join(' x '),
    medianShorterSide: medianSide,
    refused: numBad,
    ...(numBad > 0 ? { reasons: Object.fromEntries(bad.map(({ name, reason }) => [name, reason])) } : {}),
  };
}

/** What the three commands choose where nothing but the folder is named. */
function chosenFor({ config }: Project, dataset: Dataset) {
  const { preset: tokenizer = 'tiny' } = config.train.tokenizer;
  const { preset: teacher = 'tiny' } = config.train.teacher;
  return {
    'train tokenizer': { preset: tokenizer, ...tokenizerPreset(tokenizer, dataset) },
    'train teacher': { preset: teacher, ...teacherPreset(teacher, dataset) },
    distill: distillationPreset(teacher),
  };
}
