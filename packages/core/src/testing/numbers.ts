/** Host state against numbers computed a second time. */
import { expect } from 'vitest';
import { subtree, type HostTree } from '../tensors/tensors.js';
import type { Numbers } from './reference-optimizer.js';

/** The tensors below a prefix as plain numbers. */
export function numbersOf(tree: HostTree, prefix: string): Numbers {
  return Object.fromEntries(Object.entries(subtree(prefix, tree)).map(([name, { data }]) => [name, Array.from(data)]));
}

/** Every number of the state below `prefix` within `tolerance`: float32 state that has moved for a few steps. */
export function expectNumbers(state: HostTree, prefix: string, expected: Numbers, tolerance = 2e-5): void {
  for (const [name, values] of Object.entries(expected)) {
    const { data } = state[`${prefix}/${name}`]!;
    values.forEach((value, i) => {
      const error = Math.abs(data[i]! - value) / Math.max(1, Math.abs(value));
      if (!(error <= tolerance)) expect.fail(`${prefix}/${name}[${i}]: expected ${value}, got ${data[i]}`);
    });
  }
}
