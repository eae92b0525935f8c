/**
 * Weight files of other programs: the public checkpoints of MaskGIT and of its VQGAN, or files made from them. What a
 * file holds is read from its tensors, never from its name or place.
 */
import {
  checkWeights,
  DimoError,
  escapeText,
  fitNames,
  fittedSpecs,
  openSafetensors,
  openWeightFile,
  OptionError,
  prefixesOf,
  requireObject,
  refuseUnknownKeys,
  describeValue,
  sizeOf,
  tensorsUnder,
  WeightError,
  type HostTree,
  type InspectedPart,
  type PlainObject,
  type SpecTree,
  type WeightSource,
} from '@dimo/core';
import { codebookName } from './tokenizer/tokenizer.js';
import { openTorchWeights, readTorchSpecs, requireTensors } from './torch/state-dict.js';

/** Where the weights of a part are. */
export interface Checkpoint {
  /** Name in the source. */
  readonly file: string;
  /** What stands before the names of its tensors. @default the one prefix under which all of them are */
  readonly prefix?: string;
}

/** The parts of a teacher that have weights. */
export const checkpointParts = ['transformer', 'tokenizer'] as const;
/** A part of a teacher that has weights. */
export type CheckpointPart = (typeof checkpointParts)[number];
/** Where the weights are, by part. */
export type Checkpoints = Readonly<Partial<Record<CheckpointPart, Checkpoint>>>;

/** A checkpoint and the tensors of the part, under their own names. */
export interface FoundCheckpoint extends Required<Checkpoint> {
  readonly tensors: SpecTree;
  /** Further prefixes under which the file has the part. */
  readonly alternatives: readonly string[];
}

/** Tensors that tell a part. */
const anchors: Readonly<Record<CheckpointPart, readonly string[]>> = {
  transformer: ['tok_emb.weight', 'pos_emb', 'transformer.layers.0.0.norm.weight'],
  tokenizer: [codebookName, 'encoder.conv_in.weight', 'decoder.conv_out.weight'],
};

/** In words, for messages. */
const partNames: Readonly<Record<CheckpointPart, string>> = {
  transformer: 'the transformer of MaskGIT',
  tokenizer: 'its VQGAN',
};

const torchFile = /\.(?:pth|pt|bin|ckpt)$/;
const weightFile = /\.(?:pth|pt|bin|ckpt|safetensors)$/;
/** Files are looked for at most two folders down, and no more of them. */
const maximumFolders = 2;
const maximumFiles = 32;

/** Checks `checkpoint` of a configuration. @throws OptionError */
export function readCheckpoints(value: unknown, where: string): Checkpoints {
  if (value === undefined) return {};
  const given = requireObject(value, where);
  refuseUnknownKeys(given, checkpointParts, where);
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
      return [part, checkpoint];
    }),
  ) as Checkpoints;
}

/**
 * Finds the checkpoints of the parts among the files of a source.
 *
 * @param given - what is known already, in part or whole.
 * @returns the parts that are there.
 * @throws OptionError if there are several for one part; WeightError if a part is missing and a file could not be read.
 */
export async function findCheckpoints(
  source: WeightSource,
  given: Readonly<Partial<Record<CheckpointPart, Partial<Checkpoint>>>> = {},
  parts: readonly CheckpointPart[] = checkpointParts,
): Promise<Partial<Record<CheckpointPart, FoundCheckpoint>>> {
  const all = await source.list();
  const candidates = all
    .filter((name) => weightFile.test(name) && name.split('/').length - 1 <= maximumFolders)
    .slice(0, maximumFiles);
  const named = parts.flatMap((part) => given[part]?.file ?? []);
  const missing = named.find((name) => !all.includes(name));
  if (missing !== undefined)
    throw new OptionError(
      `${escapeText(source.location)} has no file ${escapeText(missing, 200)}; its weight files are ${listed(candidates)}`,
      { path: source.location },
    );
  const isComplete = parts.every((part) => given[part]?.file !== undefined);
  const opened = new Map<string, SpecTree>();
  const failures: unknown[] = [];
  for (const name of isComplete ? new Set(named) : new Set([...named, ...candidates]))
    await tensorSpecs(source, name).then(
      (specs) => opened.set(name, specs),
      (error: unknown) => {
        // A file that was named has to be readable; another may be anything.
        if (named.includes(name) || !DimoError.isInstance(error)) throw error;
        failures.push(error);
      },
    );
  const found: Partial<Record<CheckpointPart, FoundCheckpoint>> = {};
  for (const part of parts) {
    const choice = choose(part, opened, given[part] ?? {}, source.location);
    if (choice) found[part] = choice;
  }
  const isPartial = parts.some((part) => !found[part]);
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
  part: CheckpointPart,
  opened: ReadonlyMap<string, SpecTree>,
  { file, prefix }: Partial<Checkpoint>,
  location: string,
): FoundCheckpoint | undefined {
  const fitting = [...opened]
    .filter(([name]) => file === undefined || name === file)
    .map(([name, specs]) => ({ name, specs, prefixes: prefixesOf(Object.keys(specs), anchors[part]) }))
    .map((entry) => ({
      ...entry,
      prefixes: prefix === undefined ? entry.prefixes : entry.prefixes.filter((known) => known === prefix),
    }))
    .filter(({ prefixes }) => prefixes.length > 0);
  const [first, second] = fitting;
  if (!first) {
    if (file === undefined) return undefined;
    throw new OptionError(
      `${escapeText(location)}: ${escapeText(file, 200)} does not hold ${partNames[part]}: it has no tensors ${anchors[part].join(', ')}${prefix === undefined ? '' : ` under "${escapeText(prefix, 60)}"`}`,
      { path: location },
    );
  }
  if (second)
    throw new OptionError(
      `${escapeText(location)}: ${partNames[part]} is in several files: ${listed(fitting.map(({ name }) => name))}`,
      { path: location, hint: `say which one: --set checkpoint.${part}.file=${escapeText(first.name, 200)}` },
    );
  const [chosen, ...alternatives] = first.prefixes as [string, ...string[]];
  return { file: first.name, prefix: chosen, tensors: tensorsUnder(first.specs, chosen), alternatives };
}

/** Names, shapes and dtypes of the tensors in a file; none of them is read. */
async function tensorSpecs(source: WeightSource, file: string): Promise<SpecTree> {
  if (torchFile.test(file)) return readTorchSpecs(source, file);
  const opened = await openSafetensors(source, file);
  await opened.close();
  return opened.specs;
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
  const specs = await tensorSpecs(source, file);
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

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 8).map((name) => escapeText(name, 120));
  return `${shown.join(', ') || 'none'}${names.length > shown.length ? ` and ${names.length - shown.length} more` : ''}`;
}
