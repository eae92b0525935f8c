/** Matrix products of every kind against tfjs' own. Skipped without an adapter. */
import { linear, matrixProduct } from '@dimo/core';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { measureTuning } from './measured-tuning.js';
import { gpuTuning, softwareTuning } from './rows.js';
import { gpuErrors, startTestAdapter } from '../test-support/adapter.js';
import { agree, batch, forAll, length, normal, timeout, useTuning, withGradients } from '../test-support/agreement.js';

const unavailable = await startTestAdapter();

describe.skipIf(unavailable)(unavailable ? `products, skipped: ${unavailable}` : 'products', { timeout }, () => {
  describe('in registers', () => {
    beforeAll(() => useTuning(softwareTuning));

    it('matrix products with transposed operands, alone and in batches', () =>
      forAll([fc.boolean(), fc.boolean(), length, length, length, batch], async (ta, tb, m, k, n, b) => {
        for (const leading of [[], [b]]) {
          const a = normal([...leading, ...(ta ? [k, m] : [m, k])]);
          const c = normal([...leading, ...(tb ? [n, k] : [k, n])]);
          await agree(() => [matrixProduct(a, c, ta, tb)]);
        }
      }));

    it('linear with and without bias, and its gradient', () =>
      forAll([batch, length, length, length], async (b, l, k, n) => {
        const [x, weight, bias] = [normal([b, l, k]), normal([n, k]), normal([n])];
        await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [x, weight, bias]));
        await agree(withGradients((...args) => linear(args[0]!, args[1]!), [x, weight]));
      }));
  });

  it('tiled matrix products: odd sizes, many at once, and with k split', async () => {
    useTuning(gpuTuning);
    // Tiles of 64 by 64, not all of them full, and read number by number where a length is odd.
    for (const [m, k, n] of [
      [68, 20, 132],
      [67, 33, 65],
    ] as const) {
      const [x, weight, bias] = [normal([m, k]), normal([n, k]), normal([n])];
      await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [x, weight, bias]));
    }
    // 600 matrices have larger tiles.
    const [many, few] = [normal([600, 5, 3]), normal([600, 6, 5])];
    await agree(() => [matrixProduct(many, few, true, true)]);
    // k of 700 is split into two parts, which are added up, with the bias or with the sums for it.
    const [x, weight, bias] = [normal([10, 700]), normal([7, 700]), normal([7])];
    await agree(() => [linear(x, weight, bias)]);
    const [rows, small] = [normal([700, 12]), normal([8, 12])];
    await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [rows, small, normal([8])]));
  });

  it('the matrix product that is fastest is found by running them', async () => {
    const tuning = await measureTuning({ rows: 68, width: 20, rounds: 1 });
    expect(['tiled', 'stock']).toContain(tuning.matrixProduct);
    expect(await measureTuning()).toBe(tuning); // once per device
    expect(gpuErrors()).toEqual([]);
  });

  it("tfjs' own matrix product under the ops", async () => {
    useTuning({ ...gpuTuning, matrixProduct: 'stock' });
    const [x, weight, bias] = [normal([5, 6]), normal([7, 6]), normal([7])];
    await agree(withGradients((...args) => linear(args[0]!, args[1]!, args[2]!), [x, weight, bias]));
    await agree(withGradients((...args) => linear(args[0]!, args[1]!), [x, weight]));
  });
});
