/**
 * Weights of one model as Hugging Face libraries lay them out: `<base>.safetensors`, or shards with an index
 * `<base>.safetensors.index.json`, each possibly with a variant such as `fp16` in its name.
 */
import { isRecord } from '../options/check-options.js';
import { WeightError } from '../errors.js';
import { sizeOf, type HostTree, type SpecTree } from '../tensors/tensors.js';
import { escapeText } from '../text/escape-text.js';
import { unfinishedDownload } from './foreign-file.js';
import type { InspectedPart } from './inspected-part.js';
import { readJsonFile } from './json-file.js';
import { openSafetensors, type OpenSafetensors } from './safetensors-file.js';
import type { SafetensorsReadOptions } from './safetensors.js';
import { fitNames, fittedSpecs, type FittedNames } from './weight-names.js';
import { checkWeights } from './weights.js';
import type { WeightSource } from './weight-source.js';

/** What `readModelWeights` needs. */
export interface ModelWeightsOptions extends Pick<
  SafetensorsReadOptions,
  'allowNonFinite' | 'keepHalf' | 'narrowFloat64'
> {
  /** Folder in the source, empty for its root. */
  readonly folder: string;
  /** Beginning of the file names: `model`, `diffusion_pytorch_model`. */
  readonly base: string;
  /** What the weights have to fit, strictly. */
  readonly model: { readonly name: string; readonly parameters: SpecTree };
  /**
   * Reads weights of other programs as their own loaders do: words that wrappers and trainers put before the names are
   * left out, and tensors that are none of the model's are passed over (but not those of a block that the model lacks).
   * @default false: names are the model's own, all of them
   */
  readonly lenient?: boolean;
}

/** The files of a model's weights, opened and checked, not read. */
export interface InspectedWeights {
  /** Names in the source, the index included. */
  readonly files: readonly string[];
  /** Bytes of those with weights. */
  readonly bytes: number;
  /** Where the model's tensors are in them, and what else is. */
  readonly names: FittedNames;
}

/** Indices of models with some ten thousand tensors have a few megabytes. */
const maximumIndexBytes = 2 ** 26;

/**
 * Reads the weights of a model. All headers are read and checked before the first tensor.
 *
 * @throws WeightError if files are missing, damaged or disagree, or the weights do not fit the model.
 */
export async function readModelWeights(source: WeightSource, options: ModelWeightsOptions): Promise<HostTree> {
  return withOpenWeights(source, options, async (opened, { names }) => {
    const wanted = new Map([...names.fileNames].map(([own, name]) => [name, own]));
    const weights = Object.create(null) as HostTree;
    for (const file of opened) {
      const read = await file.read(Object.keys(file.specs).filter((name) => wanted.has(name)));
      for (const [name, tensor] of Object.entries(read)) weights[wanted.get(name)!] = tensor;
    }
    // In the order of the model, whatever the order of the files.
    return Object.fromEntries(Object.keys(options.model.parameters).map((name) => [name, weights[name]!]));
  });
}

/**
 * Checks the weights of a model by the headers of their files; no tensor is read.
 *
 * @throws WeightError as `readModelWeights`, but for what only the numbers show.
 */
export async function inspectModelWeights(
  source: WeightSource,
  options: ModelWeightsOptions,
): Promise<InspectedWeights> {
  return withOpenWeights(source, options, (_, inspected) => Promise.resolve(inspected));
}

/**
 * The weights of a part of a model, checked by the headers of their files.
 *
 * @throws WeightError as `inspectModelWeights`.
 */
export async function inspectPart(
  source: WeightSource,
  { name, ...options }: ModelWeightsOptions & { readonly name: string },
): Promise<InspectedPart> {
  const { files, bytes, names } = await inspectModelWeights(source, options);
  return {
    name,
    files,
    bytes,
    parameters: Object.values(options.model.parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    leftOut: [names.prefix, ...names.wrappers.map((word) => `${word}.`)].filter((word) => word !== ''),
    unused: names.unused,
  };
}

async function withOpenWeights<T>(
  source: WeightSource,
  options: ModelWeightsOptions,
  use: (opened: readonly OpenSafetensors[], inspected: InspectedWeights) => Promise<T>,
): Promise<T> {
  const { model, lenient = false } = options;
  const { files, index, indexFile } = await locate(source, options);
  const opened: OpenSafetensors[] = [];
  try {
    for (const file of files) opened.push(await openSafetensors(source, file, options));
    const specs = joinShards(opened, index);
    const path = index?.path ?? opened[0]!.path;
    const names = lenient ? fitNames(specs, model.parameters) : sameNames(specs);
    checkWeights(fittedSpecs(specs, model.parameters, names), model.parameters, { model: model.name, path });
    const bytes = opened.reduce((sum, file) => sum + file.bytes, 0);
    return await use(opened, { files: indexFile === undefined ? files : [indexFile, ...files], bytes, names });
  } finally {
    await Promise.all(opened.map((file) => file.close()));
  }
}

function sameNames(specs: SpecTree): FittedNames {
  const fileNames = new Map(Object.keys(specs).map((name) => [name, name]));
  return { fileNames, prefix: '', wrappers: [], alternatives: [], unused: [] };
}

/** Variants that are taken where the plain weights are missing, the preferred one first. */
const knownVariants = ['fp16', 'bf16', 'fp32'];

/**
 * The file to begin with: the plain one (whole before sharded), else that of a known variant, else the only one there is.
 *
 * @param names - all files of the folder.
 * @returns undefined if there is none, or no telling which.
 */
function chooseFile(names: readonly string[], base: string): { readonly chosen?: string; readonly all: string[] } {
  const single = names.filter((name) => isNamed(name, base, '.safetensors'));
  const indices = names.filter((name) => isIndex(name, base));
  const all = [...single, ...indices];
  const preferred = [
    `${base}.safetensors`,
    `${base}.safetensors.index.json`,
    ...knownVariants.flatMap((variant) => [
      `${base}.${variant}.safetensors`,
      `${base}.safetensors.index.${variant}.json`,
    ]),
  ].find((name) => all.includes(name));
  const chosen = preferred ?? (all.length === 1 ? all[0] : undefined);
  return chosen === undefined ? { all } : { chosen, all };
}

/**
 * Which files of a source `readModelWeights` reads, from their names alone: to fetch those and no others.
 *
 * @returns none if there are no weights, or several variants of which none is preferred.
 */
export function modelWeightFiles(
  names: readonly string[],
  { folder, base }: Pick<ModelWeightsOptions, 'folder' | 'base'>,
): string[] {
  const prefix = folder === '' ? '' : `${folder}/`;
  const inFolder = names.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const { chosen } = chooseFile(inFolder, base);
  if (chosen === undefined) return [];
  const variant = /\.index\.(\w+)\.json$/.exec(chosen)?.[1];
  const isShard = (name: string): boolean => {
    const middle = name.startsWith(base)
      ? /^(?:\.(\w+))?-\d+-of-\d+\.safetensors$/.exec(name.slice(base.length))
      : null;
    return middle !== null && middle[1] === variant;
  };
  const shards = chosen.endsWith('.json') ? inFolder.filter(isShard) : [];
  return [chosen, ...shards].map((name) => prefix + name);
}

interface ShardIndex {
  readonly path: string;
  /** File, as named in the source, by tensor. */
  readonly fileOf: ReadonlyMap<string, string>;
}

/** The files that hold the weights: one, or those of an index. */
async function locate(
  source: WeightSource,
  { folder, base, model }: ModelWeightsOptions,
): Promise<{ readonly files: readonly string[]; readonly index?: ShardIndex; readonly indexFile?: string }> {
  const prefix = folder === '' ? '' : `${folder}/`;
  const all = await source.list();
  const inFolder = all.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
  const { chosen, all: candidates } = chooseFile(inFolder, base);
  const place = escapeText(`${source.location}${folder === '' ? '' : `/${folder}`}`);
  if (chosen === undefined)
    throw new WeightError(
      candidates.length > 1
        ? `${place}: has weights of ${model.name} in several variants (${candidates.map((name) => escapeText(name)).join(', ')})`
        : `${place}: expected the weights of ${model.name} in ${base}.safetensors or ${base}.safetensors.index.json, found ${listed(inFolder)}`,
      { path: place, hint: hintFor(inFolder, candidates.length) },
    );
  if (!chosen.endsWith('.json')) return { files: [prefix + chosen] };
  const index = await readIndex(source, prefix, chosen);
  const files = [...new Set(index.fileOf.values())].sort();
  const missing = files.filter((name) => !all.includes(name));
  if (missing.length > 0)
    throw new WeightError(
      `${escapeText(index.path)}: ${missing.length} of ${files.length} files that it names are missing: ${listed(missing)}`,
      { path: index.path, hint: 'the download or copy is incomplete; fetch the missing files' },
    );
  return { files, index, indexFile: prefix + chosen };
}

/** `<base><ending>`, or with one word (a variant) between. */
function isNamed(name: string, base: string, ending: string): boolean {
  if (!name.startsWith(base) || !name.endsWith(ending)) return false;
  return /^(\.\w+)?$/.test(name.slice(base.length, name.length - ending.length));
}

/** `<base>.safetensors.index.json`, or with a variant before `json`. */
function isIndex(name: string, base: string): boolean {
  return name.startsWith(`${base}.safetensors.index.`) && /\.index(\.\w+)?\.json$/.test(name);
}

function hintFor(files: readonly string[], numCandidates: number): string {
  if (numCandidates > 1) return 'keep one of them';
  const unfinished = unfinishedDownload(files);
  if (unfinished !== undefined) return unfinished;
  return files.some((name) => /\.(bin|pth|pt|ckpt)$/.test(name))
    ? 'convert the PyTorch file to safetensors'
    : 'name the folder of a complete release';
}

async function readIndex(source: WeightSource, prefix: string, name: string): Promise<ShardIndex> {
  const path = `${source.location}/${prefix}${name}`;
  const fail = (message: string): WeightError =>
    new WeightError(`${escapeText(path)}: ${message}`, { path, hint: 'the index is damaged; copy it again' });
  const value = await readJsonFile(source, prefix + name, { maximumBytes: maximumIndexBytes });
  const map = isRecord(value) ? value['weight_map'] : undefined;
  if (!isRecord(map) || Object.keys(map).length === 0) throw fail('must hold a "weight_map" from tensors to files');
  const fileOf = new Map<string, string>();
  for (const [tensor, file] of Object.entries(map)) {
    if (typeof file !== 'string' || !/^[^/\\]+\.safetensors$/.test(file))
      throw fail(
        `"${escapeText(tensor, 120)}" must be in a .safetensors file beside the index, got ${JSON.stringify(file)}`,
      );
    fileOf.set(tensor, prefix + file);
  }
  return { path, fileOf };
}

/** All tensors of the files, after checking that they are where the index says. */
function joinShards(files: readonly OpenSafetensors[], index: ShardIndex | undefined): SpecTree {
  const specs = Object.create(null) as Record<string, SpecTree[string]>;
  for (const { file, path, specs: own } of files)
    for (const [name, spec] of Object.entries(own)) {
      if (index !== undefined && index.fileOf.get(name) !== file)
        throw new WeightError(
          `${escapeText(path)}: holds "${escapeText(name, 120)}", which the index ${index.fileOf.has(name) ? `places in ${escapeText(index.fileOf.get(name)!)}` : 'does not list'}`,
          { path, hint: 'index and files are of different versions; copy the whole folder again' },
        );
      specs[name] = spec;
    }
  for (const [name, file] of index?.fileOf ?? [])
    if (!Object.hasOwn(specs, name))
      throw new WeightError(
        `${escapeText(index!.path)}: places "${escapeText(name, 120)}" in ${escapeText(file)}, which lacks it`,
        {
          path: index!.path,
          hint: 'index and files are of different versions; copy the whole folder again',
        },
      );
  return specs;
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return 'no files';
  const shown = names.slice(0, 8).map((name) => escapeText(name, 120));
  return names.length > shown.length ? `${shown.join(', ')} and ${names.length - shown.length} more` : shown.join(', ');
}
