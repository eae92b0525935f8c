/** Memory of tensors by their specifications. */
import { sizeOf } from '@dimo/core';

/** Bytes of tensors of these shapes. */
export function bytesOfSpecs(specs: Iterable<{ readonly dtype: string; readonly shape: readonly number[] }>): number {
  let bytes = 0;
  for (const { dtype, shape } of specs) bytes += sizeOf(shape) * (dtype === 'bool' ? 1 : 4);
  return bytes;
}
