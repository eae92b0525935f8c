/**
 * Where the weights of a folder's model are: each part in a safetensors file of its own, or in a checkpoint of another
 * program.
 */
import { WeightError } from '../errors.js';
import type { InspectedPart } from '../storage/inspected-part.js';
import { inspectPart, readModelWeights, type ModelWeightsOptions } from '../storage/model-weights.js';
import { unfinishedDownload } from '../storage/foreign-file.js';
import type { WeightSource } from '../storage/weight-source.js';
import type { HostTree, SpecTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
import {
  findCheckpoints,
  inspectCheckpoint,
  listedNames,
  readCheckpoint,
  type Checkpoint,
  type CheckpointPart,
  type Checkpoints,
} from './checkpoints.js';

/** A model's part in a folder. */
export interface FolderPart extends CheckpointPart {
  /** Its safetensors file, as this program writes it. */
  readonly file: string;
  /** How files of its checkpoints usually end, in words: `.pth, .pt or .bin`. */
  readonly endings: string;
  readonly model: SizedModel;
}

/** What has parameters. */
export interface SizedModel {
  readonly name: string;
  readonly parameters: SpecTree;
}

/** A part's weights: our own file, or a checkpoint of another program. */
export type WeightPlace = (
  { readonly file: string; readonly isOwn: true } | (Checkpoint & { readonly isOwn: false })
) & {
  readonly model: SizedModel;
};

/**
 * Finds where the weights of each part are. `given` has checkpoints that go before the folder's own files; `hint` says what
 * to do where there are none.
 *
 * @throws WeightError if a part has no weights; OptionError if it has several.
 */
export async function findWeights(
  source: WeightSource,
  parts: Readonly<Record<string, FolderPart>>,
  { given = {}, hint }: { readonly given?: Checkpoints; readonly hint: string },
): Promise<Readonly<Record<string, WeightPlace>>> {
  const files = await source.list();
  const needed = Object.fromEntries(
    Object.entries(parts).filter(([part, { file }]) => given[part] || !files.includes(file)),
  );
  const found = Object.keys(needed).length === 0 ? {} : await findCheckpoints(source, needed, given);
  const placeOf = (part: string, { file, endings, model }: FolderPart): WeightPlace => {
    const checkpoint = found[part];
    if (checkpoint) return { file: checkpoint.file, prefix: checkpoint.prefix, isOwn: false, model };
    if (!(part in needed)) return { file, isOwn: true, model };
    throw new WeightError(
      `${escapeText(source.location)}: expected the weights of ${model.name} in ${file} or in one ${endings} file, found ${listedNames(files, 'no files')}`,
      { path: `${source.location}/${file}`, hint: unfinishedDownload(files) ?? hint },
    );
  };
  return Object.fromEntries(Object.entries(parts).map(([part, described]) => [part, placeOf(part, described)]));
}

/** The weights in a place. @throws WeightError if they do not fit the model, NonFiniteError */
export function readWeights(source: WeightSource, place: WeightPlace): Promise<HostTree> {
  return place.isOwn
    ? readModelWeights(source, ownFile(place.file, place.model))
    : readCheckpoint(source, place, place.model);
}

/** Checks the weights in a place as `readWeights` does, but for the numbers. @throws WeightError */
export async function inspectWeights(source: WeightSource, place: WeightPlace, part: string): Promise<InspectedPart> {
  const { model } = place;
  if (place.isOwn) return inspectPart(source, { name: part, ...ownFile(place.file, model) });
  const { fileNames: _, ...inspected } = await inspectCheckpoint(source, place, { model, part });
  return inspected;
}

function ownFile(file: string, model: SizedModel): ModelWeightsOptions {
  return { folder: '', base: file.replace(/\.safetensors$/, ''), model };
}
