/** Laws: an epoch is a permutation; a sample's row depends on seed, stream and its number alone. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DimoError, epochRows } from '../index.js';
import { referenceStream } from '../testing/reference-random.js';

describe('rows of an epoch', () => {
  it('are every datum once, however the samples are grouped', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.nat(3), fc.array(fc.nat(7)), (count, epoch, groups) => {
        const whole = [...epochRows(count, 5, 'x')(epoch * count, count)];
        expect([...whole].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
        const rows = epochRows(count, 5, 'x');
        let first = epoch * count;
        for (const size of groups) {
          const end = Math.min(first + size, (epoch + 1) * count);
          expect([...rows(first, end - first)]).toEqual(whole.slice(first - epoch * count, end - epoch * count));
          first = end;
        }
      }),
    );
  });

  it('go on into the next epoch, and do not depend on what was asked before', () => {
    const rows = epochRows(7, 1, 'x');
    const expected = [...epochRows(7, 1, 'x')(0, 7), ...epochRows(7, 1, 'x')(7, 7)];
    expect([...rows(3, 9)]).toEqual(expected.slice(3, 12));
    expect([...rows(0, 7)]).toEqual(expected.slice(0, 7));
  });

  it('have another order for another epoch, seed and stream, that of the permutation of its stream', () => {
    const first = (seed: number, epoch: number, stream: string) => epochRows(100, seed, stream)(epoch * 100, 100);
    const orders = [first(0, 0, 'x'), first(0, 1, 'x'), first(1, 0, 'x'), first(0, 0, 'y')];
    expect(new Set(orders.map((order) => order.join())).size).toBe(4);
    expect([...orders[1]!]).toEqual(referenceStream(0, 1, 'x').permutation(100));
  });

  it.each([NaN, Infinity, -1, 0.5, 1e18])('refuse %s', (n) => {
    expect(() => epochRows(n, 0, 'x')).toThrow(DimoError);
    expect(() => epochRows(3, 0, 'x')(n, 1)).toThrow(DimoError);
    expect(() => epochRows(3, 0, 'x')(0, n)).toThrow(DimoError);
  });
});
