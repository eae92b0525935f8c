/** What the model is told of its progress, by mode, and the sinusoids of it. */
import { float32 } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { embedMicroConditions, microConditionNumbers, sinusoids } from './sinusoids.js';
import { embedTimesteps, timestepConditioning, timestepsOf } from './timestep.js';

const maskRatio = float32([4], [0, 0.25, 0.5, 1]);

describe('timesteps', () => {
  it('are 1000 where all is masked and 0 elsewhere in official passes, the steps that are left in the sampler', () => {
    expect(timestepsOf('official', { maskRatio })).toEqual([0, 0, 0, 1000]);
    expect(timestepsOf('official', { maskRatio, stepsLeft: 7 })).toEqual([7, 7, 7, 7]);
    expect(timestepsOf('official', { maskRatio, stepsLeft: 0 })).toEqual([0, 0, 0, 0]);
  });

  it('follow the ratio in the other modes, whatever steps are left', () => {
    expect(timestepsOf('paper', { maskRatio, stepsLeft: 7 })).toEqual([0, 250, 500, 1000]);
    expect(timestepsOf('ratio', { maskRatio, stepsLeft: 7 })).toEqual([0, 0.25, 0.5, 1]);
  });

  it('are sinusoids of 1000 times each, one row per sample', () => {
    const { timestep } = timestepConditioning('ratio').compute({ maskRatio });
    expect(timestep!.shape).toEqual([4, 256]);
    expect(timestep!.data).toEqual(sinusoids([0, 250, 500, 1000]));
    expect(embedTimesteps([0.25]).data).toEqual(sinusoids([250]));
  });
});

describe('sinusoids', () => {
  it('are cosines, then sines, of frequencies from 1 down to 10000^(-127/128)', () => {
    const values = sinusoids([0, 2]);
    expect([...values.slice(0, 256)]).toEqual([...new Array(128).fill(1), ...new Array(128).fill(0)]);
    for (const k of [0, 1, 64, 127]) {
      const angle = 2 * 10000 ** (-k / 128);
      expect(values[256 + k]).toBeCloseTo(Math.cos(angle), 5);
      expect(values[256 + 128 + k]).toBeCloseTo(Math.sin(angle), 5);
    }
  });

  it('of micro-conditions come in the order width, height, top, left, score', () => {
    const numbers = microConditionNumbers({
      originalWidth: 1,
      originalHeight: 2,
      cropTop: 3,
      cropLeft: 4,
      aestheticScore: 5,
    });
    expect(numbers).toEqual([1, 2, 3, 4, 5]);
    expect(microConditionNumbers()).toEqual([1024, 1024, 0, 0, 6]);
    const embedded = embedMicroConditions([...numbers, ...numbers]);
    expect(embedded.shape).toEqual([2, 5, 256]);
    expect(embedded.data.slice(3 * 256, 4 * 256)).toEqual(sinusoids([4]));
  });
});
