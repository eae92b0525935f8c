/**
 * Weight files of other programs: the public checkpoints of a model's parts, or files made from them. What a file holds is
 * read from its tensors, never from its name or place.
 */
import { DimoError, OptionError, WeightError } from '../errors.js';
import { requireObject, refuseUnknownKeys, describeValue, type PlainObject } from '../options/check-options.js';
import type { InspectedPart } from '../storage/inspected-part.js';
import { openSafetensors } from '../storage/safetensors-file.js';
import { fitNames, fittedSpecs, prefixesOf, tensorsUnder } from '../storage/weight-names.js';
import { openWeightFile, type WeightSource } from '../storage/weight-source.js';
import { checkWeights } from '../storage/weights.js';
import { sizeOf, type HostTree, type SpecTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';

/** Where the weights of a part are. */
export interface Checkpoint {
  /** Name in the source. */
  readonly file: string;
  /** What stands before the names of its tensors. @default the one prefix under which all of them are */
  readonly prefix?: string;
}

/** A part of a model that has weights, as checkpoints hold it. */
export interface CheckpointPart {
  /** In words, for messages: `the transformer of MaskGIT`. */
  readonly description: string;
  /** Tensors that tell it. */
  readonly anchors: readonly string[];
}

/** What is known of where the weights are, by part. */
export type Checkpoints = Readonly<Record<string, Partial<Checkpoint>>>;

/** A checkpoint and the tensors of the part, under their own names. */
export interface FoundCheckpoint extends Required<Checkpoint> {
  readonly tensors: SpecTree;
  /** Further prefixes under which the file has the part. */
  readonly alternatives: readonly string[];
  /** Key of a trainer's checkpoint under which the weights are, such as `model_state_dict`; absent for bare weights. */
  readonly container?: string;
}

/** Tensors of a file, and the key under which they are. */
interface FileTensors {
  readonly specs: SpecTree;
  readonly container?: string;
}

export const torchFile = /\.(?:pth|pt|bin|ckpt)$/;
const weightFile = /\.(?:pth|pt|bin|ckpt|safetensors)$/;
/** Files are looked for at most two folders down, and no more of them. */
const maximumFolders = 2;
const maximumFiles = 32;

/**
 * Checks where a configuration says that checkpoints are: `{ transformer: 'file' }` or `{ transformer: { file, prefix } }`.
 *
 * @param parts - names of the parts that there are.
 * @throws OptionError
 */
export function readCheckpoints(value: unknown, parts: readonly string[], where: string): Checkpoints {
  if (value === undefined) return {};
  const given = requireObject(value, where);
  refuseUnknownKeys(given, parts, where);
  return Object.fromEntries(
    Object.entries(given).map(([part, entry]) => {
      const checkpoint: PlainObject =
        typeof entry === 'string' ? { file: entry } : requireObject(entry, `${where}.${part}`);
      refuseUnknownKeys(checkpoint, ['file', 'prefix'], `${where}.${part}`);
      const { file, prefix } = checkpoint;
      if (file !== undefined && (typeof file !== 'string' || file === ''))
        throw new OptionError(`${where}.${part}.file must be the name of a file, got ${describeValue(file)}`);
      if (prefix !== undefined && typeof prefix !== 'string')
        throw new OptionError(`${where}.${part}.prefix must be a text, got ${describeValue(prefix)}`);
      return [part, checkpoint as Partial<Checkpoint>];
    }),
  );
}

/**
 * Finds the checkpoints of parts among the files of a source.
 *
 * @param parts - what is looked for, by name.
 * @param given - what is known already, in part or whole.
 * @returns the parts that are there.
 * @throws OptionError if there are several for one part; WeightError if a part is missing and a file could not be read.
 */
export async function findCheckpoints(
  source: WeightSource,
  parts: Readonly<Record<string, CheckpointPart>>,
  given: Checkpoints = {},
): Promise<Readonly<Record<string, FoundCheckpoint>>> {
  const names = Object.keys(parts);
  const all = await source.list();
  const candidates = all
    .filter((name) => weightFile.test(name) && name.split('/').length - 1 <= maximumFolders)
    .slice(0, maximumFiles);
  const named = names.flatMap((part) => given[part]?.file ?? []);
  const missing = named.find((name) => !all.includes(name));
  if (missing !== undefined)
    throw new OptionError(
      `${escapeText(source.location)} has no file ${escapeText(missing, 200)}; its weight files are ${listedNames(candidates)}`,
      { path: source.location },
    );
  const isComplete = names.every((part) => given[part]?.file !== undefined);
  const opened = new Map<string, FileTensors>();
  const failures: unknown[] = [];
  for (const name of isComplete ? new Set(named) : new Set([...named, ...candidates]))
    await fileTensors(source, name).then(
      (tensors) => opened.set(name, tensors),
      (error: unknown) => {
        // A file that was named has to be readable; another may be anything.
        if (named.includes(name) || !DimoError.isInstance(error)) throw error;
        failures.push(error);
      },
    );
  const found: Record<string, FoundCheckpoint> = {};
  for (const [part, described] of Object.entries(parts)) {
    const choice = choose({ name: part, ...described }, opened, given[part] ?? {}, source.location);
    if (choice) found[part] = choice;
  }
  const isPartial = names.some((part) => !found[part]);
  const damaged = failures.find((error) => error instanceof WeightError);
  // Files of any kind end like these; one that cannot be read matters where something is missing.
  if (
    isPartial &&
    damaged !== undefined &&
    (Object.keys(found).length > 0 || !all.some((name) => name.endsWith('.json')))
  )
    throw damaged;
  return found;
}

function choose(
  { name: part, description, anchors }: CheckpointPart & { readonly name: string },
  opened: ReadonlyMap<string, FileTensors>,
  { file, prefix }: Partial<Checkpoint>,
  location: string,
): FoundCheckpoint | undefined {
  const fitting = [...opened]
    .filter(([name]) => file === undefined || name === file)
    .map(([name, tensors]) => ({ name, ...tensors, prefixes: prefixesOf(Object.keys(tensors.specs), anchors) }))
    .map((entry) => ({
      ...entry,
      prefixes: prefix === undefined ? entry.prefixes : entry.prefixes.filter((known) => known === prefix),
    }))
    .filter(({ prefixes }) => prefixes.length > 0);
  const [first, second] = fitting;
  if (!first) {
    if (file === undefined) return undefined;
    throw new OptionError(
      `${escapeText(location)}: ${escapeText(file, 200)} does not hold ${description}: it has no tensors ${anchors.join(', ')}${prefix === undefined ? '' : ` under "${escapeText(prefix, 60)}"`}`,
      { path: location },
    );
  }
  if (second)
    throw new OptionError(
      `${escapeText(location)}: ${description} is in several files: ${listedNames(fitting.map(({ name }) => name))}`,
      { path: location, hint: `say which one: --set checkpoint.${part}.file=${escapeText(first.name, 200)}` },
    );
  const [chosen, ...alternatives] = first.prefixes as [string, ...string[]];
  const { container } = first;
  return {
    file: first.name,
    prefix: chosen,
    tensors: tensorsUnder(first.specs, chosen),
    alternatives,
    ...(container === undefined ? {} : { container }),
  };
}

/** Names, shapes and dtypes of the tensors in a file; none of them is read. */
async function fileTensors(source: WeightSource, file: string): Promise<FileTensors> {
  // What reads files of PyTorch is loaded where there is one.
  const open = torchFile.test(file) ? (await import('./torch/state-dict.js')).openTorchWeights : openSafetensors;
  const opened: FileTensors & { close(): Promise<void> } = await open(source, file);
  await opened.close();
  const { specs, container } = opened;
  return { specs, ...(container === undefined ? {} : { container }) };
}

interface CheckedModel {
  readonly name: string;
  readonly parameters: SpecTree;
}

/**
 * Checks a checkpoint against a model, as the originals load it: tensors that are none of the model's may be there.
 *
 * @throws WeightError for tensors that are missing or of another shape.
 */
export async function inspectCheckpoint(
  source: WeightSource,
  { file, prefix }: Checkpoint,
  { model, part }: { readonly model: CheckedModel; readonly part: string },
): Promise<InspectedPart & { readonly fileNames: ReadonlyMap<string, string> }> {
  const path = `${source.location}/${file}`;
  const { specs } = await fileTensors(source, file);
  const names = fitNames(specs, model.parameters, prefix);
  checkWeights(fittedSpecs(specs, model.parameters, names), model.parameters, { model: model.name, path });
  const opened = await openWeightFile(source, file);
  await opened.close();
  return {
    name: part,
    files: [file],
    bytes: opened.length,
    parameters: Object.values(model.parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    leftOut: [names.prefix, ...names.wrappers.map((word) => `${word}.`)].filter((word) => word !== ''),
    unused: names.unused,
    fileNames: names.fileNames,
  };
}

/** The weights of a model in a checkpoint. @throws WeightError, NonFiniteError */
export async function readCheckpoint(
  source: WeightSource,
  checkpoint: Checkpoint,
  model: CheckedModel,
): Promise<HostTree> {
  const { file } = checkpoint;
  const { fileNames } = await inspectCheckpoint(source, checkpoint, { model, part: model.name });
  const wanted = [...new Set(fileNames.values())];
  const tensors = await (torchFile.test(file) ? readTorch : readSafetensorsOf)(source, file, wanted);
  return Object.fromEntries([...fileNames].map(([own, name]) => [own, tensors[name]!]));
}

async function readTorch(source: WeightSource, file: string, names: readonly string[]): Promise<HostTree> {
  const { openTorchWeights, requireTensors } = await import('./torch/state-dict.js');
  const opened = await openTorchWeights(source, file);
  try {
    requireTensors(opened, names);
    return await opened.read(names);
  } finally {
    await opened.close();
  }
}

async function readSafetensorsOf(source: WeightSource, file: string, names: readonly string[]): Promise<HostTree> {
  const opened = await openSafetensors(source, file, { narrowFloat64: true });
  try {
    return await opened.read(names);
  } finally {
    await opened.close();
  }
}

/** Names for a message, the first of them. */
export function listedNames(names: readonly string[], none = 'none'): string {
  const shown = names.slice(0, 8).map((name) => escapeText(name, 120));
  return `${shown.join(', ') || none}${names.length > shown.length ? ` and ${names.length - shown.length} more` : ''}`;
}
