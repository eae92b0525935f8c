/** What runs record of their dataset beside its name. */
import type { Dataset } from '@dimo/core';
import { shellQuoted } from '../flags/resume-command.js';
import { isPictureFolder } from '../project/datasets.js';
import type { Project } from '../project/session.js';

/** The content of a folder of pictures, which changes under the same name; datasets with a name of their own do not. */
export function contentOf({ train }: Dataset): { readonly pictures?: string } {
  return train.pixels instanceof Uint8Array ? {} : { pictures: train.pixels.key };
}

/** ` --dataset <folder>` for the command that comes next, where the dataset is a folder. */
export function datasetFlag({ project }: { readonly project: Project }): string {
  return isPictureFolder(project) ? ` --dataset ${shellQuoted(project.config.dataset)}` : '';
}
