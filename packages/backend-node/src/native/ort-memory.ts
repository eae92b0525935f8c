/** Memory of JavaScript that the library reads and writes. It stays where it is for as long as JavaScript holds it. */
import type { OrtApi } from './ort-api.js';

/** A text with the zero that ends it. */
export const textOf = (text: string): Uint8Array => Buffer.from(`${text}\0`);

/** Addresses of arrays, to be held with them. */
export function pointersTo(api: OrtApi, arrays: readonly Uint8Array[]): BigUint64Array {
  return BigUint64Array.from(arrays, (array) => BigInt(api.koffi.address(array)));
}
