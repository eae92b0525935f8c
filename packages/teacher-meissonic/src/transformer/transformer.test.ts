/** What parity does not cover: options, timesteps, micro-conditions, first weights. */
import { float32, randomStream } from '@dimo/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { multimodalTransformer, type MultimodalTransformerConfig } from '../index.js';
import { smallTransformer } from '../test-support/small-transformer.js';
import { embedMicroConditions, microConditionNumbers, sinusoids } from './sinusoids.js';
import { embedTimesteps, timestepsOf } from './timestep.js';

const tiny: MultimodalTransformerConfig = { ...smallTransformer, grid: 4 };

describe('options', () => {
  it.each<[string, Record<string, unknown>, RegExp]>([
    ['an unknown key', { layers: 3 }, /transformer has no option "layers"; known are codebookSize/],
    ['a codebook of no codes', { codebookSize: 0 }, /transformer\.codebookSize must be an integer >= 1, got 0/],
    ['no row for the mask token', { vocabularySize: 8 }, /transformer\.vocabularySize must be an integer >= 9, got 8/],
    ['rotations that do not fill a head', { rotaryAxes: [2, 2, 2] }, /rotaryAxes must add up to .*headWidth 8/],
    ['an odd rotation', { rotaryAxes: [1, 3, 4] }, /rotaryAxes must be three even numbers, got \[1,3,4\]/],
    ['two rotations', { rotaryAxes: [4, 4] }, /rotaryAxes must be three even numbers/],
    ['an odd grid with down-sampling', { grid: [4, 3] }, /grid must be even with transformer\.downsample/],
    ['an unknown timestep mode', { timestepMode: 'none' }, /timestepMode must be one of official, paper, ratio/],
    ['a flag that is a word', { downsample: 'yes' }, /downsample must be true or false, got "yes"/],
  ])('refuse %s', (_, changes, message) => {
    expect(() => multimodalTransformer({ ...tiny, ...changes } as MultimodalTransformerConfig)).toThrow(message);
  });

  it('allow an odd grid without down-sampling', () => {
    const { tokenSpace } = multimodalTransformer({ ...tiny, grid: [4, 3], downsample: false });
    expect(tokenSpace).toEqual({ codebookSize: 8, numLogits: 8, maskTokenId: 8, grid: [4, 3] });
  });

  it('give the released model its 1,006,946,304 parameters in 867 tensors', () => {
    const { parameters } = multimodalTransformer({
      codebookSize: 8192,
      vocabularySize: 8256,
      grid: 64,
      heads: 8,
      headWidth: 128,
      jointBlocks: 14,
      singleBlocks: 28,
      textWidth: 1024,
      rotaryAxes: [16, 56, 56],
    });
    const sizes = Object.values(parameters).map(({ shape }) => shape.reduce((a, b) => a * b, 1));
    expect(sizes.length).toBe(867);
    expect(sizes.reduce((a, b) => a + b, 0)).toBe(1_006_946_304);
  });
});

describe('timesteps', () => {
  const ratios = float32([4], [0, 0.02, 0.999, 1]);
  it('are 0 below a ratio of 1 in the official mode, and the steps that are left when sampling in several', () => {
    expect(timestepsOf('official', { maskRatio: ratios })).toEqual([0, 0, 0, 1000]);
    expect(timestepsOf('official', { maskRatio: ratios, stepsLeft: 63 })).toEqual([63, 63, 63, 63]);
  });
  it('follow the mask ratio in the other modes', () => {
    const expected = Array.from(ratios.data);
    expect(timestepsOf('ratio', { maskRatio: ratios, stepsLeft: 63 })).toEqual(expected);
    expect(timestepsOf('paper', { maskRatio: ratios })).toEqual(expected.map((ratio) => 1000 * ratio));
  });
  it('are multiplied by 1000 before their sinusoids', () => {
    expect(embedTimesteps([0.006]).data).toEqual(sinusoids([Math.fround(1000 * Math.fround(0.006))]));
  });
});

describe('sinusoids', () => {
  it('of 0 are 128 ones and 128 zeros; cosines come first', () => {
    expect([...sinusoids([0])]).toEqual([...Array<number>(128).fill(1), ...Array<number>(128).fill(0)]);
    // f_0 = 1
    expect(sinusoids([2])[0]).toBeCloseTo(Math.cos(2), 6);
    expect(sinusoids([2])[128]).toBeCloseTo(Math.sin(2), 6);
  });

  it('differ from those in float64 by no more than the rounding of the angles', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1024 }), fc.integer({ min: 0, max: 127 }), (t, k) => {
        const exact = Math.cos(t * Math.exp((-Math.log(10000) * k) / 128));
        expect(Math.abs(sinusoids([t])[k]! - exact)).toBeLessThan(1e-7 + (t * 3) / 2 ** 24);
      }),
    );
  });

  it('of micro-conditions are five per sample', () => {
    const numbers = microConditionNumbers({ originalWidth: 64, aestheticScore: 5 });
    expect(numbers).toEqual([64, 1024, 0, 0, 5]);
    const { shape, data } = embedMicroConditions([...numbers, ...numbers]);
    expect(shape).toEqual([2, 5, 256]);
    expect(data.subarray(4 * 256, 5 * 256)).toEqual(sinusoids([5]));
    expect(() => embedMicroConditions([1, 2, 3, 4])).toThrow(/five numbers per sample, got 4/);
  });
});

describe('embedding noise relative to the embeddings', () => {
  it('uses the rms after norm and convolution', () => {
    // Rows of one channel each: the norm makes them sqrt(16) of it, the convolution 3 times that.
    const width = 16;
    const { embeddingRms } = multimodalTransformer(tiny);
    const table = Float32Array.from({ length: 9 * width }, (_, i) => (i % width === Math.floor(i / width) ? 5 : 0));
    const filter = Float32Array.from({ length: width * width }, (_, i) => (i % (width + 1) === 0 ? 3 : 0));
    const weights = {
      'embed.embeddings.weight': float32([9, width], table),
      'embed.layer_norm.weight': float32([width], new Float32Array(width).fill(1)),
      'embed.conv.weight': float32([width, width, 1, 1], filter),
    };
    // Mean square of 12 and fifteen zeros: 144 / 16 = 9.
    expect(embeddingRms!(weights)).toBeCloseTo(3, 5);
  });
});

describe('first weights', () => {
  const { initialize, parameters } = multimodalTransformer(tiny);
  const weights = initialize(randomStream(1, 0, 'weights'));

  it('let every block begin as the identity', () => {
    const modulations = Object.keys(parameters).filter((name) => /norm\d?(_context)?\.linear\./.test(name));
    expect(modulations.length).toBe(6);
    for (const name of modulations) expect(weights[name]!.data.every((value) => value === 0)).toBe(true);
  });

  it('are uniform in +-1/sqrt(fan-in) elsewhere', () => {
    const bound = 1 / Math.sqrt(4 * 16);
    const { data } = weights['single_transformer_blocks.0.proj_mlp.weight']!;
    expect(Math.max(...data.map(Math.abs))).toBeLessThanOrEqual(1 / Math.sqrt(16));
    const down = weights['down_block.downsample.conv.weight']!.data;
    expect(Math.max(...down.map(Math.abs))).toBeLessThanOrEqual(bound);
    expect(Math.max(...down.map(Math.abs))).toBeGreaterThan(0.9 * bound);
    expect(weights['transformer_blocks.0.attn.norm_q.weight']!.data.every((value) => value === 1)).toBe(true);
  });
});
