/** Programs that do the same to several tensors of any sizes in one launch: as many as the adapter binds buffers for. */
import { sizeOf, type BufferBinding } from './program.js';
import { vectorOf } from './rows.js';

/** Tensors of one launch; those read four numbers at a time are kept apart from the others. */
export interface Batch<T> {
  readonly items: readonly T[];
  readonly type: 'f32' | 'vec4<f32>';
  /** Numbers per element of that type. */
  readonly width: 1 | 4;
}

/**
 * Items in launches.
 *
 * @param sizeOfItem - numbers in each of the item's tensors.
 * @param limits - items that a program is at most written for, since it gets longer with each; storage buffers that the
 *   adapter binds to a program, those needed once, and those per item.
 * @returns nothing if not even one item fits.
 */
export function inBatches<T>(
  items: readonly T[],
  sizeOfItem: (item: T) => number,
  limits: { readonly most: number; readonly available: number; readonly common: number; readonly perItem: number },
): Batch<T>[] {
  const numSlots = Math.min(limits.most, Math.floor((limits.available - limits.common) / limits.perItem));
  if (numSlots < 1) return [];
  return (['vec4<f32>', 'f32'] as const).flatMap((type) => {
    const alike = items.filter((item) => vectorOf(sizeOfItem(item)).type === type);
    const width = type === 'f32' ? 1 : 4;
    return Array.from({ length: Math.ceil(alike.length / numSlots) }, (_, i): Batch<T> => {
      return { items: alike.slice(i * numSlots, (i + 1) * numSlots), type, width };
    });
  });
}

/** Bindings `<name><slot>`, all of a slot before those of the next. */
export function slotBindings(numSlots: number, names: readonly string[], type: 'f32' | 'vec4<f32>'): BufferBinding[] {
  return Array.from({ length: numSlots }, (_, slot) => names.map((name) => ({ name: `${name}${slot}`, type }))).flat();
}

/** Uniforms `end0`, `end1`, ...: the first workgroup beyond each slot. */
export function slotUniforms(numSlots: number): Record<string, 'u32'> {
  return Object.fromEntries(Array.from({ length: numSlots }, (_, slot) => [`end${slot}`, 'u32']));
}

/** Their values, for the workgroups that each slot needs. */
export function slotEnds(groups: readonly number[]): Record<string, number> {
  let end = 0;
  return Object.fromEntries(groups.map((count, slot) => [`end${slot}`, (end += count)]));
}

/** WGSL: `code(slot)` for the slot that `group` belongs to, with `local`, the group's number within its slot. */
export function perSlot(numSlots: number, code: (slot: number) => string): string {
  return Array.from({ length: numSlots }, (_, slot) => {
    const start = slot === 0 ? '0u' : `uniforms.end${slot - 1}`;
    return `if (group < uniforms.end${slot}) { let local = group - ${start}; ${code(slot)} }`;
  }).join(' else ');
}

/** True for tensors that have something to compute. */
export function isFilled({ shape }: { readonly shape: readonly number[] }): boolean {
  return sizeOf(shape) > 0;
}
