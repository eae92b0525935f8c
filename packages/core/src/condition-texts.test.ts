import { describe, expect, it } from 'vitest';
import { drawnFromTexts, promptLines } from './condition-texts.js';
import type { ConditionSource } from './model.js';
import { randomStream } from './random.js';
import { int32 } from './tensors.js';

describe('promptLines', () => {
  it('are the lines that are not blank, without surrounding white space', () => {
    expect(promptLines('a cat\r\n\n  two dogs \n\t\n')).toEqual(['a cat', 'two dogs']);
  });
  it('refuses a file of none, naming it', () => {
    expect(() => promptLines(' \n', 'prompts.txt')).toThrow(/prompts\.txt: expected one prompt per line/);
  });
});

describe('drawnFromTexts', () => {
  const seen: string[][] = [];
  const lengths: ConditionSource = {
    sample: () => {
      throw new Error('not asked');
    },
    parse(texts) {
      seen.push([...texts]);
      return {
        length: int32(
          [texts.length],
          texts.map((text) => text.length),
        ),
      };
    },
  };
  const source = drawnFromTexts(lengths, ['a', 'bb', 'ccc']);

  it('draws every text about equally often, and the same ones from the same stream', async () => {
    const { length } = await source.sample(randomStream(1, 0, 'test'), 3000);
    const counts = [1, 2, 3].map((n) => length!.data.filter((value) => value === n).length);
    // Standard deviation of each: sqrt(3000 * 1/3 * 2/3) = 26.
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(4 * 26);
    expect(await source.sample(randomStream(1, 0, 'test'), 3000)).toEqual({ length });
  });

  it('still reads what is typed', async () => {
    await source.parse(['typed']);
    expect(seen.at(-1)).toEqual(['typed']);
    expect(() => drawnFromTexts(lengths, [])).toThrow(/at least one text/);
  });
});
