/**
 * Files of `torch.save`: a zip archive (since PyTorch 1.6), or the older stream of pickles followed by the storages. The
 * content decides which, not the name. Read part by part: a storage that no one asks for costs nothing.
 */
import { WeightError } from '../../errors.js';
import { describeForeignFile } from '../../storage/foreign-file.js';
import type { WeightFile } from '../../storage/weight-source.js';
import { escapeText } from '../../text/escape-text.js';
import { PickleCutOff } from './pickle-input.js';
import { pickleLimits, readPickle, type PickleResult } from './pickle.js';
import { elementSizeOf, PickleDict, PickleList, type PickleValue, type StorageReference } from './pickle-values.js';
import { isZip, readZip, type ByteRange, type ZipEntry } from './zip.js';

/** A file of `torch.save`. */
export interface TorchFile {
  /** What was saved. */
  readonly root: PickleValue;
  /** Parts of a storage, little-endian. @throws WeightError if it is damaged. */
  readStorage(reference: StorageReference, ranges: readonly ByteRange[]): Promise<Uint8Array[]>;
}

/** First pickle of the older format: 2-byte protocol, then a 10-byte integer. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyStart = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
const legacyProtocol = 1001;
/** How much of an older file is read at first to find the end of its pickles. */
const firstBytes = 2 ** 18;
/** Enough to tell what a file is that is none of ours. */
const headBytes = 4096;
/** More is not read of the file that tells the order of bytes. */
const maximumOrderBytes = 64;

/** True if the bytes begin like a file of `torch.save`. */
export function isTorchFile(bytes: Uint8Array): boolean {
  return isZip(bytes) || legacyStart.every((byte, i) => bytes[i] === byte);
}

/**
 * Opens a file of `torch.save`. Nothing in it is executed.
 *
 * @param file - used as long as the result is.
 * @param path - for messages.
 * @throws WeightError if it is damaged, hostile or of another kind.
 */
export async function openTorchFile(file: WeightFile, path?: string): Promise<TorchFile> {
  const head = await file.read(0, Math.min(file.length, headBytes));
  if (isZip(head)) return openArchive(file, path);
  if (isTorchFile(head)) return openLegacy(file, path);
  const { what, hint } = describeForeignFile(head, file.length) ?? {
    what: 'neither a zip archive nor a stream of pickles',
    hint: 'name a .pth, .pt, .bin or .ckpt file that PyTorch has written, or a .safetensors file',
  };
  throw new WeightError(`not a file of torch.save: it is ${what}`, { path, hint });
}

async function openArchive(file: WeightFile, path: string | undefined): Promise<TorchFile> {
  const fail = (message: string, hint?: string): WeightError =>
    new WeightError(`torch file: ${message}`, { path, hint });
  const entries = await readZip(file, path);
  const names = [...entries.keys()];
  // The folder is named after the file that was saved: `archive/` is only one of its names.
  const pickles = names.filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [name, second] = pickles;
  if (names.some((entry) => /^[^/]+\/(?:code\/|constants\.pkl$)/.test(entry)))
    throw fail('is a TorchScript archive: a program with its weights', 'save the state dict of the model alone');
  if (name === undefined || second !== undefined)
    throw fail(
      name === undefined
        ? `is a zip archive of other files: ${listed(names)}`
        : `expected one data.pkl in a folder, found ${pickles.length}`,
      otherArchiveHint(names),
    );
  const folder = name.slice(0, -'data.pkl'.length);
  const order = await readOrder(entries.get(`${folder}byteorder`));
  if (order !== undefined && order !== 'little')
    throw fail('was written on a machine with big-endian numbers, which is not supported');
  const entry = entries.get(name) as ZipEntry;
  if (entry.length > pickleLimits.bytes)
    throw fail(`data.pkl has ${entry.length} bytes, at most ${pickleLimits.bytes} are allowed`);
  const [content] = (await entry.read()) as [Uint8Array];
  const { value, end } = readPickle(content, 0, path);
  if (end !== content.length) throw fail('data.pkl goes on after its end');
  return {
    root: value,
    async readStorage(reference, ranges) {
      const { key } = reference;
      const label = `storage "${escapeText(key, 40)}"`;
      const data = entries.get(`${folder}data/${key}`);
      if (!data) throw fail(`${label} is missing`);
      const expected = bytesOf(reference, fail);
      if (data.length !== expected) throw fail(`${label} must have ${expected} bytes, has ${data.length}`);
      return data.read(ranges);
    },
  };
}

async function readOrder(entry: ZipEntry | undefined): Promise<string | undefined> {
  if (!entry) return undefined;
  const [text] = await entry.read([{ begin: 0, end: Math.min(entry.length, maximumOrderBytes) }]);
  return new TextDecoder().decode(text);
}

type Fail = (message: string) => WeightError;

function bytesOf({ key, dtype, numElements }: StorageReference, fail: Fail): number {
  const size = elementSizeOf(dtype);
  if (size === undefined)
    throw fail(`storage "${escapeText(key, 40)}" is of the type ${escapeText(dtype, 40)}, which is not known`);
  return numElements * size;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 5).map((name) => escapeText(name, 60));
  return names.length > shown.length ? `${shown.join(', ')} and ${names.length - shown.length} more` : shown.join(', ');
}

function otherArchiveHint(names: readonly string[]): string | undefined {
  if (names.some((name) => name.endsWith('.npy')))
    return 'this is an archive of NumPy arrays; save a state dict of torch';
  if (names.some((name) => /\.(?:pth|pt|ckpt|bin|safetensors)$/.test(name)))
    return 'unpack the archive and name the folder with its files';
  return 'name a .pth, .pt, .bin or .ckpt file that PyTorch has written, or a .safetensors file';
}

async function openLegacy(file: WeightFile, path: string | undefined): Promise<TorchFile> {
  const fail = (message: string): WeightError => new WeightError(`torch file (older format): ${message}`, { path });
  const { root, storages, keys, end } = await readLegacyPickles(file, path, fail);
  const begins = new Map<string, number>();
  let position = end;
  for (const key of keys.items) {
    const reference = typeof key === 'string' ? storages.get(key) : undefined;
    if (!reference || begins.has(reference.key)) throw fail('lists a storage that no tensor uses, or one twice');
    const label = `storage "${escapeText(reference.key, 40)}"`;
    const length = bytesOf(reference, fail);
    if (length + 8 > file.length - position) throw fail(`${label} is cut off`);
    const count = await file.read(position, position + 8);
    const stored = new DataView(count.buffer, count.byteOffset, 8).getBigInt64(0, true);
    if (stored !== BigInt(reference.numElements))
      throw fail(`${label} must have ${reference.numElements} elements, has ${stored}`);
    begins.set(reference.key, position + 8);
    position += 8 + length;
  }
  if (position !== file.length) throw fail(`goes on for ${file.length - position} bytes after its last storage`);
  return {
    root,
    readStorage({ key }, ranges) {
      const start = begins.get(key);
      if (start === undefined) throw fail(`storage "${escapeText(key, 40)}" is missing`);
      return Promise.all(ranges.map(({ begin, end }) => file.read(start + begin, start + end)));
    },
  };
}

interface LegacyPickles {
  readonly root: PickleValue;
  readonly storages: ReadonlyMap<string, StorageReference>;
  readonly keys: PickleList;
  /** Offset of the first storage. */
  readonly end: number;
}

/** The five pickles at the beginning, of which nothing says how long they are: more is read until they end. */
async function readLegacyPickles(file: WeightFile, path: string | undefined, fail: Fail): Promise<LegacyPickles> {
  for (let length = firstBytes; ; length *= 4) {
    const head = await file.read(0, Math.min(file.length, length));
    try {
      return parseLegacyPickles(head, path, fail);
    } catch (error) {
      const mayGoOn = head.length < file.length && length <= 2 * pickleLimits.bytes;
      if (!(error instanceof PickleCutOff && mayGoOn)) throw error;
    }
  }
}

function parseLegacyPickles(bytes: Uint8Array, path: string | undefined, fail: Fail): LegacyPickles {
  let position = 0;
  const next = (): PickleResult => {
    const result = readPickle(bytes, position, path);
    position = result.end;
    return result;
  };
  if (next().value !== legacyMagic) throw fail('does not begin with its magic number');
  if (next().value !== legacyProtocol) throw fail(`is not of protocol ${legacyProtocol}`);
  const system = next().value;
  if (!(system instanceof PickleDict) || system.entries.get('little_endian') !== true)
    throw fail('was written on a machine with big-endian numbers, which is not supported');
  const { value: root, storages } = next();
  const keys = next().value;
  if (!(keys instanceof PickleList)) throw fail('has no list of storages');
  return { root, storages, keys, end: position };
}
