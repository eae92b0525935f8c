import { describe, expect, it } from 'vitest';
import { WeightError } from '../../errors.js';
import { readTensors, type NamedReference } from './read-tensors.js';
import type { TorchFile } from './torch-file.js';

const wanted = Array.from({ length: 12 }, (_, i): NamedReference => {
  const storage = { key: String(i), dtype: 'float32', length: 2 } as const;
  return [`tensor ${i}`, { kind: 'tensor', storage, dtype: 'float32', offset: 0, shape: [2], strides: [1] } as never];
});

/** A file whose storages hold their number, and arrive late; some do not. */
function slowFile(missing: readonly number[] = []) {
  const seen = { underWay: 0, most: 0 };
  const torch: Partial<TorchFile> = {
    async readStorage({ key }) {
      seen.most = Math.max(seen.most, ++seen.underWay);
      await new Promise((resolve) => setTimeout(resolve, Number(key) % 3));
      seen.underWay--;
      if (missing.includes(Number(key))) throw new WeightError(`storage ${key} is not there`);
      return [new Uint8Array(Float32Array.of(Number(key), 1).buffer)];
    },
  };
  return { torch: torch as TorchFile, seen };
}

describe('readTensors', () => {
  it('reads a few storages ahead, and gives the tensors in order', async () => {
    const { torch, seen } = slowFile();
    const tensors = await readTensors(torch, wanted);
    expect(Object.entries(tensors).map(([name, { data }]) => [name, data[0]])).toEqual(
      wanted.map(([name], i) => [name, i]),
    );
    expect(seen.most).toBeGreaterThan(1);
    expect(seen.most).toBeLessThanOrEqual(5);
  });

  it('fails with the first storage that cannot be read, whichever fails sooner', async () => {
    await expect(readTensors(slowFile([5, 6]).torch, wanted)).rejects.toThrow('storage 5 is not there');
  });
});
