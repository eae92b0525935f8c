/** Safetensors files read tensor by tensor, so that a large file and its tensors are never in memory together. */
import { openWeightFile, type WeightFile, type WeightSource } from './weight-source.js';
import type { TensorSource } from '../tensors/tensor-source.js';
import type { DType, HostTree } from '../tensors/tensors.js';
import type { SafetensorsEntry } from './safetensors-format.js';
import { parseSafetensorsHeader, safetensorsHeaderLength } from './safetensors-header.js';
import { decodeSafetensorsEntry, type SafetensorsReadOptions } from './safetensors.js';

/** A safetensors file whose header has been read. Floating-point numbers become float32, integers int32. */
export interface OpenSafetensors extends TensorSource {
  /** Name in the source. */
  readonly file: string;
  readonly path: string;
  /** Bytes of the file. */
  readonly bytes: number;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file and reads its header.
 *
 * @throws WeightError if the header is damaged.
 */
export async function openSafetensors(
  source: WeightSource,
  name: string,
  options: SafetensorsReadOptions = {},
): Promise<OpenSafetensors> {
  const file = await openWeightFile(source, name);
  try {
    return await safetensorsIn(file, { ...options, file: name, path: `${source.location}/${name}` });
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** A file that is open already, after its header was read. @throws WeightError if that is damaged */
export async function safetensorsIn(
  file: WeightFile,
  { file: name, ...options }: SafetensorsReadOptions & { readonly file: string; readonly path: string },
): Promise<OpenSafetensors> {
  const entries = await readHeader(file, options);
  return {
    file: name,
    path: options.path,
    bytes: file.length,
    specs: Object.fromEntries([...entries].map(([key, { dtype, shape }]) => [key, { dtype: hostType(dtype), shape }])),
    async read(names) {
      const tensors = Object.create(null) as HostTree;
      for (const key of names) {
        const entry = entries.get(key) as SafetensorsEntry;
        tensors[key] = decodeSafetensorsEntry(key, entry, await file.read(entry.begin, entry.end), options);
      }
      return tensors;
    },
    close: () => file.close(),
  };
}

/** The length of the header, and enough to tell what a file is that is none of ours. */
const headBytes = 4096;

async function readHeader(
  file: WeightFile,
  options: SafetensorsReadOptions,
): Promise<ReadonlyMap<string, SafetensorsEntry>> {
  const start = await file.read(0, Math.min(headBytes, file.length));
  const length = safetensorsHeaderLength(start, file.length, options);
  return parseSafetensorsHeader(await file.read(0, length), file.length, options).tensors;
}

function hostType(dtype: SafetensorsEntry['dtype']): DType {
  if (dtype === 'BOOL') return 'bool';
  return /^[IU]/.test(dtype) ? 'int32' : 'float32';
}
