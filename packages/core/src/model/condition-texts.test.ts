import { describe, expect, it } from 'vitest';
import { checkTexts, drawnFromTexts, promptLines, textLines } from './condition-texts.js';
import { OptionError } from '../errors.js';
import type { ConditionSource } from './model.js';
import { randomStream } from '../random/random.js';
import { int32 } from '../tensors/tensors.js';

describe('promptLines', () => {
  it('are the lines that are not blank, without surrounding white space', () => {
    expect(promptLines('a cat\r\n\n  two dogs \n\t\n')).toEqual(['a cat', 'two dogs']);
  });
  it('refuses a file of none, naming it', () => {
    expect(() => promptLines(' \n', 'prompts.txt')).toThrow(/prompts\.txt: expected one prompt per line/);
  });
});

describe('textLines', () => {
  it('end as on any system and where Unicode ends them, and keep their numbers', () => {
    expect(textLines('a\r\nb\rc\n\nd  \u2028 e\u2029f\u0085g\fh\vi')).toEqual([
      { line: 1, text: 'a' },
      { line: 2, text: 'b' },
      { line: 3, text: 'c' },
      { line: 5, text: 'd' },
      { line: 6, text: 'e' },
      { line: 7, text: 'f' },
      { line: 8, text: 'g' },
      { line: 9, text: 'h' },
      { line: 10, text: 'i' },
    ]);
  });
});

describe('checkTexts', () => {
  const lines = textLines('fine\nlonger\nbad 1\n\nbad 2\nfine too\n');
  const parsed: string[] = [];
  const source: ConditionSource = {
    sample: () => ({}),
    parse(texts) {
      parsed.push(...texts);
      for (const text of texts)
        if (text.startsWith('bad')) throw new OptionError(`"${text}" is unknown`, { hint: 'h' });
      return {};
    },
  };
  const checking: ConditionSource = {
    ...source,
    parse: () => {
      throw new Error('not asked');
    },
    check(texts) {
      void source.parse(texts);
      return texts.flatMap((text, index) => (text.length > 5 ? index : []));
    },
  };

  it.each([
    ['parse', source],
    ['check', checking],
  ])('names every line that is not understood, by %s', async (_by, conditions) => {
    const failure = checkTexts(conditions, lines, 'list.txt');
    await expect(failure).rejects.toThrow('list.txt:3: "bad 1" is unknown\nlist.txt:5: "bad 2" is unknown');
    await expect(failure).rejects.toMatchObject({ code: 'option', hint: 'h' });
  });

  it('lists the first five and counts the others', async () => {
    const many = textLines('bad\n'.repeat(12));
    await expect(checkTexts(source, many, 'list.txt')).rejects.toThrow(/:5: .*\nand 7 more lines of list\.txt$/);
  });

  it('gives the lines that are cut, and asks for every line', async () => {
    parsed.length = 0;
    const good = lines.filter(({ text }) => !text.startsWith('bad'));
    expect(await checkTexts(checking, good, 'list.txt')).toEqual([
      { line: 2, text: 'longer' },
      { line: 6, text: 'fine too' },
    ]);
    expect(await checkTexts(source, good, 'list.txt')).toEqual([]);
    expect(parsed).toEqual([...good, ...good].map(({ text }) => text));
  });

  it('leaves other errors as they are', async () => {
    const broken = { ...source, parse: () => Promise.reject(new Error('device lost')) };
    await expect(checkTexts(broken, lines, 'list.txt')).rejects.toThrow(/^device lost$/);
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
