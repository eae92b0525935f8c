/** Element types and limits of safetensors files, and what their header says of one tensor. */
import { DimoError } from '../errors.js';

/** Bits per element of every dtype that the format knows. */
export const bitsPerElement = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  F64: 64,
  I64: 64,
  U64: 64,
  C64: 64,
} as const;

/** Element types of safetensors files. */
export type SafetensorsDType = keyof typeof bitsPerElement;

/** Upper bounds of what is read; each may be lowered, and raised explicitly. */
export interface SafetensorsLimits {
  /** Bytes of the JSON header. @default 100_000_000 */
  readonly headerBytes: number;
  /** @default 100_000 */
  readonly tensors: number;
  /** Axes of one tensor. @default 8 */
  readonly rank: number;
  /** UTF-8 bytes of one name. @default 512 */
  readonly nameBytes: number;
  /** Entries of the metadata. @default 10_000 */
  readonly metadataEntries: number;
  /** Characters of all metadata together. @default 2^24 */
  readonly metadataLength: number;
}

/** The limits in use where none are given. */
export const defaultSafetensorsLimits: SafetensorsLimits = {
  headerBytes: 100_000_000,
  tensors: 100_000,
  rank: 8,
  nameBytes: 512,
  metadataEntries: 10_000,
  metadataLength: 2 ** 24,
};

/** One tensor as the header describes it. */
export interface SafetensorsEntry {
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** First byte, counted from the start of the file. */
  readonly begin: number;
  /** One past the last byte. */
  readonly end: number;
}

/** Bytes per element; a fraction for the packed types (F4, F6). */
export function bytesPerElement(dtype: SafetensorsDType): number {
  return bitsPerElement[dtype] / 8;
}

/** The format is little-endian and typed arrays have the machine's byte order; no supported machine differs. */
export function assertLittleEndian(): void {
  if (new Uint8Array(new Uint16Array([1]).buffer)[0] !== 1)
    throw new DimoError('internal', 'safetensors: this machine stores numbers big-endian, which is not supported');
}
