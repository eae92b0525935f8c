/**
 * Where parity fixtures are, and how they are read. They were made with PyTorch by the programs that their README.md
 * files describe; `DIMO_FIXTURES` names another folder of the same layout.
 */
import { readSafetensors, type HostTensor, type HostTree } from '@dimo/core';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

/** Root of the fixtures. */
export const fixtures = process.env['DIMO_FIXTURES'] ?? fileURLToPath(new URL('../fixtures', import.meta.url));

/** Tensors of a safetensors file of the fixtures. */
export function loadTensors(...path: string[]): HostTree {
  return readSafetensors(readFileSync(join(fixtures, ...path))).tensors;
}

/** Content of a JSON file of the fixtures. */
export function loadJson<T>(...path: string[]): T {
  return JSON.parse(readFileSync(join(fixtures, ...path), 'utf8')) as T;
}

/** Folders below `path` that contain a file called `marker`. */
export function foldersWith(path: string, marker: string): string[] {
  return readdirSync(join(fixtures, path)).filter((name) => existsSync(join(fixtures, path, name, marker)));
}

/** Tensors whose names begin with `prefix`, without it. */
export function below(prefix: string, tensors: HostTree): HostTree {
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, tensor]) =>
      name.startsWith(prefix) ? [[name.slice(prefix.length), tensor]] : [],
    ),
  );
}

/** Largest absolute difference; infinite if the lengths differ or a value is NaN. */
export function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs(a[i]! - b[i]!);
    if (!(difference <= largest)) largest = Number.isNaN(difference) ? Infinity : difference;
  }
  return largest;
}

/** The tensor with another shape of the same size. */
export function reshaped<T extends HostTensor>(tensor: T, shape: readonly number[]): T {
  return { ...tensor, shape };
}
