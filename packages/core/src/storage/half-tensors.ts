/**
 * Float32 tensors that stay in 16 bits, as the file had them: half the memory for weights that are only read. They look
 * like any other host tensor; engines that can use the 16 bits ask for them.
 */
import { DimoError, NonFiniteError, ShapeError } from '../errors.js';
import { checkShape, sizeOf, type HostTensor } from '../tensors/tensors.js';
import { decodeBfloat16, float16Table, toFloat16Bits } from './half-floats.js';

/** Elements of a float32 tensor in 16 bits each. */
export interface HalfFloats {
  /** IEEE binary16 or bfloat16. */
  readonly format: 'F16' | 'BF16';
  /** Bit patterns, row-major. Never written. */
  readonly bits: Uint16Array;
}

const half = Symbol('16-bit elements');

/**
 * A float32 host tensor over 16-bit elements.
 *
 * Its `data` is decoded anew at every access, so read it once. A copy made by spreading is an ordinary float32 tensor.
 *
 * @param bits - owned by the tensor from now on.
 * @throws ShapeError if shape and bits disagree.
 */
export function halfTensor(shape: readonly number[], { format, bits }: HalfFloats): HostTensor<'float32'> {
  checkShape('16-bit tensor', shape);
  if (bits.length !== sizeOf(shape))
    throw new ShapeError(
      `16-bit tensor: shape [${shape.join(', ')}] needs ${sizeOf(shape)} elements, got ${bits.length}`,
    );
  const tensor = {
    dtype: 'float32' as const,
    shape,
    get data(): Float32Array {
      if (bits.length < sizeOf(shape))
        throw new DimoError('option', 'a tensor is used whose memory was moved to an engine', {
          hint: 'upload it without `move`, or read it again',
        });
      return decodeHalfFloats({ format, bits });
    },
  };
  // Not enumerable: a copy with other data must not carry these bits along.
  return Object.defineProperty(tensor, half, { value: { format, bits } satisfies HalfFloats });
}

/** The 16-bit elements of a tensor made by `halfTensor`, undefined for all others. Borrowed. */
export function halfFloatsOf(tensor: HostTensor): HalfFloats | undefined {
  return (tensor as { readonly [half]?: HalfFloats })[half];
}

/**
 * The elements as IEEE binary16, rounded where they are not in 16 bits already. Borrowed.
 *
 * @param where - the tensor, for messages.
 * @throws NonFiniteError for an element that is NaN or infinite, or becomes so.
 */
export function float16BitsOf(tensor: HostTensor<'float32'>, where: string): Uint16Array {
  const held = halfFloatsOf(tensor);
  if (held?.format === 'F16') return held.bits;
  const { data } = tensor;
  const bits = new Uint16Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const pattern = toFloat16Bits(data[i] as number);
    if ((pattern & 0x7c00) === 0x7c00)
      throw new NonFiniteError(`${where}: ${data[i] as number} at element ${i} is too large for F16`, {
        hint: 'write it as F32',
      });
    bits[i] = pattern;
  }
  return bits;
}

/** The values, exactly. */
export function decodeHalfFloats({ format, bits }: HalfFloats): Float32Array<ArrayBuffer> {
  const data = new Float32Array(bits.length);
  switch (format) {
    case 'F16': {
      const table = float16Table();
      for (let i = 0; i < data.length; i++) data[i] = table[bits[i] as number] as number;
      return data;
    }
    case 'BF16':
      decodeBfloat16(bits, data);
      return data;
  }
}

/** Index of the first NaN or infinity, or -1. */
export function findNonFiniteHalf({ format, bits }: HalfFloats): number {
  const exponent = format === 'F16' ? 0x7c00 : 0x7f80;
  for (let i = 0; i < bits.length; i++) if (((bits[i] as number) & exponent) === exponent) return i;
  return -1;
}
