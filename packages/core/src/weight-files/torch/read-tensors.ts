/** Tensors of a torch file, storage by storage: what is in memory are the tensors and the parts of a few storages. */
import { WeightError } from '../../errors.js';
import { sizeOf, type HostTree } from '../../tensors/tensors.js';
import type { TensorReference } from './pickle-values.js';
import type { TorchFile } from './torch-file.js';
import { bytesOfView, decodeTorchTensor, type TorchTensorOptions } from './torch-tensor.js';
import type { ByteRange } from './zip.js';

/** All tensors together may have this many times the bytes of the storages that they are views of ... */
const maximumRepetition = 4;
/** ... or may lie scattered over this many times their own bytes ... */
const maximumScatter = 64;
/** ... and so many more: small files may do what they like. */
const freeBytes = 2 ** 24;
/** Storages that are read while tensors are made of another one. */
const readAhead = 4;

/** A tensor under the name that it gets. */
export type NamedReference = readonly [name: string, reference: TensorReference];

/**
 * Reads tensors, in the order of `wanted`.
 *
 * @throws WeightError for damage; NonFiniteError for NaN, infinity and numbers that are too large for float32.
 */
export async function readTensors(
  torch: TorchFile,
  wanted: readonly NamedReference[],
  options: TorchTensorOptions = {},
): Promise<HostTree> {
  checkExpansion(wanted, options.path);
  const tensors = new Map<string, HostTree[string]>();
  const groups = byStorage(wanted).map((group) => ({ group, ranges: joinedRanges(group) }));
  const readings: Promise<Uint8Array[]>[] = [];
  for (const [i, { group, ranges }] of groups.entries()) {
    for (const next of groups.slice(readings.length, i + 1 + readAhead)) {
      const reading = readGroup(torch, next);
      reading.catch(() => {}); // reported when its turn comes
      readings.push(reading);
    }
    const parts = await readings[i]!;
    delete readings[i];
    for (const [key, reference] of group) {
      const { begin, end } = bytesOfView(reference);
      const at = ranges.findIndex((range) => range.begin <= begin && end <= range.end);
      const part = begin === end ? new Uint8Array() : parts[at]!;
      const start = begin === end ? 0 : ranges[at]!.begin;
      tensors.set(key, decodeTorchTensor(key, reference, part, start, { ...options, takesBytes: group.length === 1 }));
    }
  }
  // In the order that was asked for; without a prototype, any name is a plain name.
  const tree = Object.create(null) as HostTree;
  for (const [key] of wanted) tree[key] = tensors.get(key)!;
  return tree;
}

interface StorageGroup {
  readonly group: readonly NamedReference[];
  readonly ranges: readonly ByteRange[];
}

async function readGroup(torch: TorchFile, { group, ranges }: StorageGroup): Promise<Uint8Array[]> {
  return ranges.length === 0 ? [] : torch.readStorage(group[0]![1].storage, ranges);
}

/**
 * Refuses tensors that repeat their stored elements without end, or lie scattered over far more bytes than they have: in
 * sum, so that many of them do no more than one.
 */
function checkExpansion(wanted: readonly NamedReference[], path: string | undefined): void {
  const needed = wanted.reduce((sum, [, { shape }]) => sum + 4 * sizeOf(shape), 0);
  const stored = byStorage(wanted)
    .flatMap(joinedRanges)
    .reduce((sum, { begin, end }) => sum + end - begin, 0);
  const isRepeated = needed > maximumRepetition * stored + freeBytes;
  const isScattered = stored > maximumScatter * needed + freeBytes;
  if (isRepeated || isScattered)
    throw new WeightError(
      `torch file: ${wanted.length} tensors of ${needed} bytes together are ${isRepeated ? 'repetitions of' : 'scattered over'} ${stored} stored bytes`,
      { path, hint: 'make the tensors contiguous before saving them: tensor.contiguous().clone()' },
    );
}

/** The bytes that the tensors of one storage need, as ranges that do not touch. */
function joinedRanges(group: readonly NamedReference[]): ByteRange[] {
  const views = group.map(([, reference]) => bytesOfView(reference)).filter(({ begin, end }) => begin < end);
  const joined: { begin: number; end: number }[] = [];
  for (const { begin, end } of views.sort((a, b) => a.begin - b.begin)) {
    const last = joined.at(-1);
    if (last && begin <= last.end) last.end = Math.max(last.end, end);
    else joined.push({ begin, end });
  }
  return joined;
}

/** The tensors of each storage, in the order of the first of them. */
function byStorage(wanted: readonly NamedReference[]): NamedReference[][] {
  const groups = new Map<string, NamedReference[]>();
  for (const pair of wanted) {
    const { key } = pair[1].storage;
    const group = groups.get(key);
    if (group) group.push(pair);
    else groups.set(key, [pair]);
  }
  return [...groups.values()];
}
