/**
 * State that stays in 16 bits on the device. onnxruntime takes float16 and no bfloat16 from JavaScript, so bfloat16 is
 * turned into float16 times a power of two, which is exact unless a tensor spans more than 30 binary orders of magnitude.
 */
import { decodeHalfFloats, halfFloatsOf, type HostTensor, type HostTree, type UploadOptions } from '@dimo/core';
import type { HalfWire, WireTree } from './protocol.js';

/** Elements of a float32 tensor in float16, to be multiplied by 2^-exponent. */
export interface ScaledHalf {
  readonly bits: Uint16Array;
  readonly exponent: number;
}

/** Powers of two beyond this are not used, far within what float32 holds. */
const largestExponent = 100;

/**
 * The same numbers as scaled float16, exactly.
 *
 * @param source - bfloat16 bit patterns.
 * @returns undefined if no power of two makes all of them exact, or one is not finite.
 */
export function scaledHalfOfBfloat16(source: Uint16Array): ScaledHalf | undefined {
  // Binary orders of the largest number and of the lowest bit that is set in any of them.
  let highest = -Infinity;
  let lowest = Infinity;
  for (let i = 0; i < source.length; i++) {
    const pattern = source[i]! & 0x7fff;
    if (pattern === 0) continue;
    const biased = pattern >> 7;
    if (biased === 0xff) return undefined;
    const significand = biased === 0 ? pattern & 0x7f : (pattern & 0x7f) | 0x80;
    const order = Math.max(biased, 1) - 127 - 7; // of the significand's lowest bit
    const top = order + 31 - Math.clz32(significand);
    const low = order + 31 - Math.clz32(significand & -significand);
    if (top > highest) highest = top;
    if (low < lowest) lowest = low;
  }
  if (highest === -Infinity) return { bits: source.slice(), exponent: 0 }; // zeros, signs included
  // float16 holds bits of order -24 to 15.
  const exponent = 15 - highest;
  if (lowest + exponent < -24 || Math.abs(exponent) > largestExponent) return undefined;
  const bits = new Uint16Array(source.length);
  for (let i = 0; i < source.length; i++) bits[i] = scaledPattern(source[i]!, exponent);
  return { bits, exponent };
}

/** float16 pattern of a bfloat16 number times 2^exponent, which is known to be exact. */
function scaledPattern(pattern: number, exponent: number): number {
  const sign = pattern & 0x8000;
  const biased = (pattern >> 7) & 0xff;
  const significand = biased === 0 ? pattern & 0x7f : (pattern & 0x7f) | 0x80;
  if (significand === 0) return sign;
  // The number is significand * 2^order in units of 2^-24, the smallest float16.
  const order = Math.max(biased, 1) - 127 - 7 + exponent + 24;
  const width = 31 - Math.clz32(significand);
  const top = order + width;
  if (top < 10) return sign | (order >= 0 ? significand << order : significand >> -order);
  // Normal: ten bits behind the leading one; the exponent field is 1 for a leading bit at place 10.
  return sign | ((top - 9) << 10) | ((significand << (10 - width)) & 0x3ff);
}

/**
 * What goes to the worker, and the buffers that move there with it.
 *
 * @param move - give away the tree's own memory where that is possible; otherwise copies are made.
 */
export function wireTree(
  tree: HostTree,
  { move = false }: UploadOptions = {},
): { readonly tensors: WireTree; readonly transfer: ArrayBuffer[] } {
  // A set: two names may stand for one tensor.
  const transfer = new Set<ArrayBuffer>();
  // fromEntries, not assignment: a tensor may be called `__proto__`.
  const tensors: WireTree = Object.fromEntries(
    Object.entries(tree).map(([name, tensor]): [string, HostTensor | HalfWire] => {
      const half = scaledHalfOf(tensor, move);
      const wired = half ? { dtype: 'float32' as const, shape: [...tensor.shape], ...half } : plainWire(tensor, move);
      transfer.add(('bits' in wired ? wired.bits : wired.data).buffer as ArrayBuffer);
      return [name, wired];
    }),
  );
  return { tensors, transfer: [...transfer] };
}

function scaledHalfOf(tensor: HostTensor, move: boolean): ScaledHalf | undefined {
  const half = halfFloatsOf(tensor);
  if (!half) return undefined;
  return half.format === 'F16' ? { bits: owned(half.bits, move), exponent: 0 } : scaledHalfOfBfloat16(half.bits);
}

function plainWire(tensor: HostTensor, move: boolean): HostTensor {
  // A 16-bit tensor's data are decoded anew at every access and belong to nobody else.
  const data = owned(tensor.data, move || halfFloatsOf(tensor) !== undefined);
  return { dtype: tensor.dtype, shape: [...tensor.shape], data } as HostTensor;
}

/** The array itself if it may be moved and is all of its buffer; a view would take its neighbours along. */
function owned<T extends HostTensor['data'] | Uint16Array>(array: T, move: boolean): T {
  return move && array.byteLength === array.buffer.byteLength ? array : (array.slice() as T);
}

/** Tensors that came from the worker. */
export function hostTreeOf(tree: WireTree): HostTree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, tensor]): [string, HostTensor] => [
      name,
      'bits' in tensor ? { dtype: 'float32', shape: tensor.shape, data: widened(tensor) } : tensor,
    ]),
  );
}

function widened({ bits, exponent }: HalfWire): Float32Array {
  const data = decodeHalfFloats({ format: 'F16', bits });
  if (exponent !== 0) for (let i = 0; i < data.length; i++) data[i] = data[i]! * 2 ** -exponent;
  return data;
}

/** The number of each float16 bit pattern. */
export function float16Values(): Float32Array {
  return decodeHalfFloats({ format: 'F16', bits: Uint16Array.from({ length: 0x10000 }, (_, pattern) => pattern) });
}
