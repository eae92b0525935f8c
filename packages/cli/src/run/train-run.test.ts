import { float32 } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { fromGroups, toGroups } from './train-run.js';

const state = {
  'teacher/w': float32([1], [1]),
  'generator/a/b': float32([2], [1, 2]),
  'generatorOptimizer/m/a': float32([1], [3]),
};

describe('groups of a checkpoint', () => {
  it('are made and read back, without what is frozen', () => {
    const groups = toGroups(state, ['teacher']);
    expect(groups).toEqual({
      generator: { 'a/b': state['generator/a/b'] },
      'generator-optimizer': { 'm/a': state['generatorOptimizer/m/a'] },
    });
    expect(fromGroups(groups, state, ['teacher'])).toEqual(state);
  });

  it('refuse a checkpoint of other tensors', () => {
    expect(() => fromGroups({}, state, ['teacher'])).toThrow(/"generator\/a\/b" is missing/);
    const other = { ...toGroups(state, []), generator: { 'a/b': float32([3]) } };
    expect(() => fromGroups(other, state, [])).toThrow(/another shape/);
  });
});
