/**
 * Philox-4x32-10 against the known-answer vectors published with Random123 (file kat_vectors), and laws of the streams.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { normalsFromWords } from './random-normal.js';
import { philox4x32, randomStream } from './random.js';

const hex = (words: Uint32Array) => [...words].map((word) => word.toString(16).padStart(8, '0')).join(' ');

describe('philox4x32', () => {
  it.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[-1, -1, -1, -1], [-1, -1], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ] as const)('counter %j key %j', (counter, key, expected) => {
    const out = new Uint32Array(4);
    philox4x32(counter as unknown as [number, number, number, number], key as unknown as [number, number], out);
    expect(hex(out)).toBe(expected);
  });
});

describe('randomStream', () => {
  it('gives the same numbers for the same key and others for another seed, step or name', () => {
    const first = (seed: number, step: number, name: string) => [...randomStream(seed, step, name).uniform(4)];
    expect(first(1, 2, 'a')).toEqual(first(1, 2, 'a'));
    for (const other of [first(2, 2, 'a'), first(1, 3, 'a'), first(1, 2, 'b'), first(1 + 2 ** 32, 2, 'a')])
      expect(other).not.toEqual(first(1, 2, 'a'));
  });

  it('draws uniforms in [0, 1) and integers below the bound', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 2 ** 31 - 1 }), (seed, below) => {
        const stream = randomStream(seed, 0, 'laws');
        expect(stream.uniform(50).every((u) => u >= 0 && u < 1)).toBe(true);
        expect(stream.integers(50, below).every((i) => i >= 0 && i < below)).toBe(true);
      }),
    );
  });

  it('gives the same numbers however they are taken', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 11 }), { maxLength: 6 }), (counts) => {
        const pieces = randomStream(3, 1, 'pieces');
        const total = counts.reduce((sum, count) => sum + count, 0);
        expect(counts.flatMap((count) => [...pieces.uniform(count)])).toEqual([
          ...randomStream(3, 1, 'pieces').uniform(total),
        ]);
      }),
    );
  });

  it('transforms words as Box and Muller do with exact functions', () => {
    const corners = [
      0,
      1,
      2,
      2 ** 29 - 1,
      2 ** 29,
      2 ** 30 - 1,
      2 ** 30,
      2 ** 31,
      3 * 2 ** 29,
      2 ** 32 - 2,
      2 ** 32 - 1,
    ];
    const pairs = corners.flatMap((a) => corners.map((b) => [a, b] as const));
    const random = randomStream(1, 1, 'words').integers(4000, 2 ** 31);
    for (let i = 0; i < random.length; i += 2) pairs.push([2 * random[i]!, 2 * random[i + 1]! + 1]);
    const values = normalsFromWords(Uint32Array.from(pairs.flat()), 2 * pairs.length);
    pairs.forEach(([a, b], i) => {
      const radius = Math.sqrt(-2 * Math.log((a + 1) * 2 ** -32));
      const angle = 2 * Math.PI * b * 2 ** -32;
      // Half a float32 step at the largest radius, 6.66, is 2.4e-7.
      expect(Math.abs(values[2 * i]! - radius * Math.cos(angle))).toBeLessThan(3e-7);
      expect(Math.abs(values[2 * i + 1]! - radius * Math.sin(angle))).toBeLessThan(3e-7);
    });
    // Words that leave almost no radius keep their relative precision.
    const [small] = normalsFromWords(Uint32Array.of(2 ** 32 - 2, 0), 1);
    expect(small! / Math.sqrt(2 * 2 ** -32)).toBeCloseTo(1, 6);
  });

  it('draws normals with mean 0, variance 1, and a normal tail', () => {
    const values = randomStream(5, 0, 'normal').normal(100_001);
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
    // Standard errors 0.0032 and 0.0045; four of each.
    expect(Math.abs(mean)).toBeLessThan(0.0127);
    expect(Math.abs(variance - 1)).toBeLessThan(0.018);
    // P(|x| > 2) = 0.0455, standard error 0.00066.
    expect(values.filter((x) => Math.abs(x) > 2).length / values.length).toBeCloseTo(0.0455, 2);
  });

  it('permutes: every element once, each position equally likely', () => {
    const counts = new Float64Array(16);
    for (let step = 0; step < 4000; step++) {
      const order = randomStream(9, step, 'permutation').permutation(4);
      expect([...order].sort()).toEqual([0, 1, 2, 3]);
      order.forEach((value, position) => (counts[position * 4 + value]! += 1));
    }
    // Expected 1000, standard deviation 27.
    expect(Math.max(...counts.map((count) => Math.abs(count - 1000)))).toBeLessThan(120);
  });

  it('refuses seeds and steps that are no such integers', () => {
    expect(() => randomStream(-1, 0, 'a')).toThrow(/seed must be an integer/);
    expect(() => randomStream(0, 0.5, 'a')).toThrow(/step must be an integer/);
    expect(() => randomStream(NaN, 0, 'a')).toThrow(/seed must be/);
  });
});
