/** Safetensors files read tensor by tensor, so that a large file and its tensors are never in memory together. */
import { openWeightFile, type WeightFile, type WeightSource } from './weight-source.js';
import type { DType, HostTree, SpecTree } from '../tensors/tensors.js';
import type { SafetensorsEntry } from './safetensors-format.js';
import { parseSafetensorsHeader, safetensorsHeaderLength } from './safetensors-header.js';
import { decodeSafetensorsEntry, type SafetensorsReadOptions } from './safetensors.js';

/** A safetensors file whose header has been read. */
export interface OpenSafetensors {
  /** Name in the source. */
  readonly file: string;
  readonly path: string;
  /** Bytes of the file. */
  readonly bytes: number;
  /** What each tensor becomes: floating-point numbers float32, integers int32. */
  readonly specs: SpecTree;
  /** Reads tensors, one after another. */
  read(names: readonly string[]): Promise<HostTree>;
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
  const path = `${source.location}/${name}`;
  const file = await openWeightFile(source, name);
  try {
    const entries = await readHeader(file, { ...options, path });
    return {
      file: name,
      path,
      bytes: file.length,
      specs: Object.fromEntries(
        [...entries].map(([key, { dtype, shape }]) => [key, { dtype: hostType(dtype), shape }]),
      ),
      async read(names) {
        const tensors = Object.create(null) as HostTree;
        for (const key of names) {
          const entry = entries.get(key) as SafetensorsEntry;
          const bytes = await file.read(entry.begin, entry.end);
          tensors[key] = decodeSafetensorsEntry(key, entry, bytes, { ...options, path });
        }
        return tensors;
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
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
