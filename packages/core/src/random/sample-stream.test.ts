import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DimoError, OptionError, sampleStream } from '../index.js';
import { referenceStream } from '../testing/reference-random.js';

describe('streams of samples', () => {
  it('are, row by row, those of their samples, in any grouping', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 32 - 60 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(13),
        (first, a, b, n) => {
          const whole = sampleStream(3, first, a + b, 'x');
          const parts = [sampleStream(3, first, a, 'x'), sampleStream(3, first + a, b, 'x')];
          for (const kind of ['uniform', 'normal'] as const)
            expect([...whole.fork(kind)[kind]((a + b) * n)]).toEqual([
              ...parts[0]!.fork(kind)[kind](a * n),
              ...parts[1]!.fork(kind)[kind](b * n),
            ]);
          const expected = Array.from({ length: a + b }, (_, row) =>
            referenceStream(3, first + row, 'x/ids').integers(n, 5),
          );
          expect([...whole.fork('ids').integers((a + b) * n, 5)]).toEqual(expected.flat());
        },
      ),
    );
  });

  it('go on where they were', () => {
    const stream = sampleStream(0, 4, 2, 'x');
    const [once, twice] = [stream.uniform(6), stream.uniform(4)];
    const whole = [4, 5].map((sample) => referenceStream(0, sample, 'x').uniform(5));
    expect([...once]).toEqual([...whole[0]!.slice(0, 3), ...whole[1]!.slice(0, 3)]);
    expect([...twice]).toEqual([...whole[0]!.slice(3), ...whole[1]!.slice(3)]);
  });

  it('refuse an amount that differs between samples, an order of them, and samples that have no number', () => {
    expect(() => sampleStream(0, 0, 3, 'x').uniform(4)).toThrow(/multiples of 3/);
    expect(() => sampleStream(0, 0, 3, 'x').permutation(3)).toThrow(OptionError);
    expect(() => sampleStream(0, 2 ** 32 - 2, 3, 'x')).toThrow(OptionError);
    for (const count of [0, -1, 0.5, NaN]) expect(() => sampleStream(0, 0, count, 'x')).toThrow(DimoError);
    for (const amount of [-3, 1.5, NaN]) expect(() => sampleStream(0, 0, 3, 'x').normal(amount)).toThrow(DimoError);
  });
});
