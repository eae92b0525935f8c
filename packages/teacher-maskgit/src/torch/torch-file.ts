/**
 * Files of `torch.save`: a zip archive (since PyTorch 1.6), or the older stream of pickles followed by the storages. The
 * content decides which, not the name.
 */
import { escapeText, WeightError } from '@dimo/core';
import { readPickle } from './pickle.js';
import { elementSizes, PickleDict, PickleList, type PickleValue, type StorageReference } from './pickle-values.js';
import { isZip, readZip, type ZipEntry } from './zip.js';

/** A file of `torch.save`. */
export interface TorchFile {
  /** What was saved. */
  readonly root: PickleValue;
  /** Bytes of a storage, little-endian; a view of the file. @throws WeightError if it is damaged. */
  storage(reference: StorageReference): Uint8Array;
}

/** First pickle of the older format: 2-byte protocol, then a 10-byte integer. */
const legacyMagic = 0x1950a86a20f9469cfc6cn;
const legacyStart = [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];
const legacyProtocol = 1001;

/** True if the bytes begin like a file of `torch.save`. */
export function isTorchFile(bytes: Uint8Array): boolean {
  return isZip(bytes) || legacyStart.every((byte, i) => bytes[i] === byte);
}

/**
 * Opens a file of `torch.save`. Nothing in it is executed; calls of anything but the rebuilding of tensors are refused.
 *
 * @param bytes - the whole file. Borrowed as long as the result is used.
 * @param path - for messages.
 * @throws WeightError if it is damaged, hostile or of another kind.
 */
export function openTorchFile(bytes: Uint8Array, path?: string): TorchFile {
  if (isZip(bytes)) return openArchive(bytes, path);
  if (isTorchFile(bytes)) return openLegacy(bytes, path);
  throw new WeightError('not a file of torch.save: expected a zip archive or a stream of pickles', {
    path,
    hint: 'name a .pth, .pt, .bin or .ckpt file that PyTorch has written, or a .safetensors file',
  });
}

function openArchive(bytes: Uint8Array, path: string | undefined): TorchFile {
  const fail = (message: string): WeightError => new WeightError(`torch file: ${message}`, { path });
  const entries = readZip(bytes, path);
  // The folder is named after the file that was saved: `archive/` is only one of its names.
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [name, second] = pickles;
  if (name === undefined || second !== undefined)
    throw fail(`expected one data.pkl in a folder, found ${pickles.length}`);
  const folder = name.slice(0, -'data.pkl'.length);
  const order = entries.get(`${folder}byteorder`)?.read();
  if (order && new TextDecoder().decode(order) !== 'little')
    throw fail('was written on a machine with big-endian numbers, which is not supported');
  const entry = entries.get(name) as ZipEntry;
  const content = entry.read();
  const { value, end } = readPickle(content, 0, path);
  if (end !== content.length) throw fail('data.pkl goes on after its end');
  const read = new Map<string, Uint8Array>();
  return {
    root: value,
    storage(reference) {
      const { key, dtype, numElements } = reference;
      const label = `storage "${escapeText(key, 40)}"`;
      const known = read.get(key);
      if (known) return known;
      const data = entries.get(`${folder}data/${key}`);
      if (!data) throw fail(`${label} is missing`);
      const expected = numElements * elementSizes[dtype];
      if (data.length !== expected) throw fail(`${label} must have ${expected} bytes, has ${data.length}`);
      const bytesOfStorage = data.read();
      read.set(key, bytesOfStorage);
      return bytesOfStorage;
    },
  };
}

function openLegacy(bytes: Uint8Array, path: string | undefined): TorchFile {
  const fail = (message: string): WeightError => new WeightError(`torch file (older format): ${message}`, { path });
  let position = 0;
  const next = () => {
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
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data = new Map<string, Uint8Array>();
  for (const key of keys.items) {
    const reference = typeof key === 'string' ? storages.get(key) : undefined;
    if (!reference || data.has(reference.key)) throw fail('lists a storage that no tensor uses, or one twice');
    const label = `storage "${escapeText(reference.key, 40)}"`;
    const length = reference.numElements * elementSizes[reference.dtype];
    if (length + 8 > bytes.length - position) throw fail(`${label} is cut off`);
    if (view.getBigInt64(position, true) !== BigInt(reference.numElements))
      throw fail(`${label} must have ${reference.numElements} elements, has ${view.getBigInt64(position, true)}`);
    data.set(reference.key, bytes.subarray(position + 8, position + 8 + length));
    position += 8 + length;
  }
  if (position !== bytes.length) throw fail(`goes on for ${bytes.length - position} bytes after its last storage`);
  return {
    root,
    storage({ key }) {
      const found = data.get(key);
      if (!found) throw fail(`storage "${escapeText(key, 40)}" is missing`);
      return found;
    },
  };
}
