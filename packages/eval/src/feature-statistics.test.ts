/** Statistics in parts are those of the whole. */
import { NonFiniteError, OptionError, randomStream, ShapeError } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { featureStatistics, matrix, runningStatistics } from './index.js';

const columns = 5;
const values = randomStream(3, 0, 'features').normal(700 * columns);

describe('statistics in parts', () => {
  it('are those of the definition, wherever the parts end and however far from 0 they lie', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 699 }), { maxLength: 6 }),
        fc.constantFrom(0, 1e7),
        (cuts, shift) => {
          const data = Float64Array.from(values, (value) => value + shift);
          const running = runningStatistics(columns);
          const ends = [...cuts.sort((a, b) => a - b), 700];
          let from = 0;
          for (const end of ends) {
            running.add(matrix(data.slice(from * columns, end * columns), columns));
            from = end;
          }
          const { count, mean, covariance } = running.finish();
          expect(count).toBe(700);
          for (let d = 0; d < columns; d++) {
            const column = (e: number) => data.filter((_, i) => i % columns === e);
            const meanOf = (e: number) => column(e).reduce((sum, value) => sum + value, 0) / 700;
            expect(mean[d]! - shift).toBeCloseTo(meanOf(d) - shift, 6);
            for (let e = 0; e < columns; e++) {
              const [x, y] = [column(d), column(e)];
              const [mx, my] = [meanOf(d), meanOf(e)];
              const expected = x.reduce((sum, value, i) => sum + (value - mx) * (y[i]! - my), 0) / 699;
              expect(covariance[d * columns + e]).toBeCloseTo(expected, 6);
            }
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('refuse what is none', () => {
    const running = runningStatistics(columns);
    expect(() => running.finish()).toThrow(OptionError);
    expect(() => running.add(matrix(new Float32Array(6), 3))).toThrow(ShapeError);
    expect(() => running.add(matrix(Float32Array.from([1, 2, NaN, 4, 5]), columns))).toThrow(NonFiniteError);
    expect(() => featureStatistics(matrix(new Float32Array(columns), columns))).toThrow(/at least 2 samples/);
  });
});
