import { int32, OptionError, type ConditionSource } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { conditionsFor, parseClasses } from './conditions.js';

const source: ConditionSource = {
  classNames: ['cat', 'dog', 'a, b'],
  sample: (random, count) => ({ label: int32([count], random.integers(count, 3)) }),
  parse: (texts) => ({
    label: int32(
      [texts.length],
      texts.map((text) => Number(text)),
    ),
  }),
};

describe('classes', () => {
  it('expand ranges and lists; a class name is taken whole', () => {
    expect(parseClasses('0-3,7', undefined)).toEqual(['0', '1', '2', '3', '7']);
    expect(parseClasses(' cat , dog ', source.classNames)).toEqual(['cat', 'dog']);
    expect(parseClasses('a, b', source.classNames)).toEqual(['a, b']);
    for (const wrong of ['', '1,,2', '3-1', '0-999999999'])
      expect(() => parseClasses(wrong, undefined)).toThrow(/classes/);
  });

  it('are used in turn; without classes all of them, without names random ones', async () => {
    const named = await conditionsFor(source, 5, { classes: '2,0', seed: 0 });
    expect([named.labels, named.numDifferent]).toEqual([['2', '0', '2', '0', '2'], 2]);
    expect((await conditionsFor(source, 4, { seed: 0 })).labels).toEqual(['0', '1', '2', '0']);
    const { classNames: _names, ...nameless } = source;
    const [first, again, other] = await Promise.all([3, 3, 4].map((seed) => conditionsFor(nameless, 100, { seed })));
    expect(first!.condition).toEqual(again!.condition);
    expect(first!.condition).not.toEqual(other!.condition);
  });

  it('of a sample follow from its index alone', async () => {
    const { classNames: _names, ...nameless } = source;
    for (const [from, request] of [
      [source, { prompts: ['2', '0'] }],
      [source, { classes: '1,2,0' }],
      [source, {}],
      [nameless, {}],
    ] as const) {
      const whole = await conditionsFor(from, 40, { ...request, seed: 3 });
      const some = await conditionsFor(from, 20, { ...request, seed: 3, firstIndex: 13 });
      expect([...some.condition['label']!.data]).toEqual([...whole.condition['label']!.data.slice(13, 33)]);
      expect(some.labels).toEqual(whole.labels.slice(13, 33));
    }
  });

  it('that cannot be drawn are asked for, whatever the program is', async () => {
    const wordy: ConditionSource = {
      parse: source.parse,
      sample() {
        throw new OptionError('there are no prompts to draw from');
      },
    };
    await expect(conditionsFor(wordy, 1, { seed: 0 })).rejects.toMatchObject({
      hint: 'say what to generate, such as "a red ball"',
    });
  });
});
