import { float32, readTensors, specsOf, tensorSource, type HostTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { fromGroups, groupsOnDevice, toGroups } from './checkpoint-groups.js';

const state = {
  'teacher/w': float32([1], [1]),
  'generator/a/b': float32([2], [1, 2]),
  'generatorOptimizer/m/a': float32([1], [3]),
};

const sources = (groups: Record<string, HostTree>) =>
  Object.fromEntries(Object.entries(groups).map(([group, tree]) => [group, tensorSource(tree)]));

describe('groups of a checkpoint', () => {
  it('are made and read back, without what is frozen', async () => {
    const groups = toGroups(state, ['teacher']);
    expect(groups).toEqual({
      generator: { 'a/b': state['generator/a/b'] },
      'generator-optimizer': { 'm/a': state['generatorOptimizer/m/a'] },
    });
    const { 'teacher/w': _, ...trained } = state;
    expect(await readTensors(fromGroups(sources(groups), specsOf(state), ['teacher']))).toEqual(trained);
  });

  it('refuse a checkpoint of other tensors', () => {
    expect(() => fromGroups({}, specsOf(state), ['teacher'])).toThrow(/"generator\/a\/b" is missing/);
    const other = { ...toGroups(state, []), generator: { 'a/b': float32([3]) } };
    expect(() => fromGroups(sources(other), specsOf(state), [])).toThrow(/another shape/);
  });

  it('are read from the device a tensor at a time', async () => {
    const read: string[] = [];
    const device = {
      specs: specsOf(state),
      download(names: readonly string[] = []) {
        read.push(names.join());
        return Promise.resolve(Object.fromEntries(names.map((name) => [name, state[name as keyof typeof state]])));
      },
    };
    const groups = groupsOnDevice(device, ['teacher']);
    expect(read).toEqual([]);
    expect(await groups['generator-optimizer']!.read(['m/a'])).toEqual({ 'm/a': state['generatorOptimizer/m/a'] });
    expect(read).toEqual(['generatorOptimizer/m/a']);
  });
});
