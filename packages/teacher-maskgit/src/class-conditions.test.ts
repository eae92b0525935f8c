import { describe, expect, it } from 'vitest';
import { classConditions } from './class-conditions.js';
import { imagenetClasses } from './imagenet-classes.js';
import { defineMaskgit } from './teacher-config.js';

/** Ids of what was typed. */
function idsOf(options: Parameters<typeof classConditions>[0], ...texts: string[]): number[] {
  const { label } = classConditions(options).parse(texts) as Record<string, { readonly data: Int32Array }>;
  return [...label!.data];
}

describe('classes by name', () => {
  const options = {
    numClasses: 5,
    classNames: ['crane (bird)', 'crane (machine)', 'Cardigan corgi', 'cardigan', '0'],
    synonyms: [['crane', 'Grus'], ['crane'], ['Cardigan', 'corgi'], ['jacket'], []],
  };

  it('are found as written first, then whatever the capitals; names go before synonyms, and both before ids', () => {
    expect(idsOf(options, 'crane (bird)', 'GRUS', 'Cardigan', 'cardigan', 'CARDIGAN', ' jacket ', '0', '1')).toEqual([
      0, 0, 2, 3, 3, 3, 4, 1,
    ]);
  });

  it('are refused where they mean several', () => {
    expect(() => idsOf(options, 'Crane')).toThrow(
      /"Crane" means several: 0 \(crane \(bird\)\), 1 \(crane \(machine\)\)/,
    );
    expect(() => idsOf({ numClasses: 2, classNames: ['a', 'a'] }, 'a')).toThrow(/means several: 0 \(a\), 1 \(a\)/);
    expect(idsOf({ numClasses: 2, classNames: ['a', 'a'] }, '1')).toEqual([1]);
  });

  it('that are unknown are answered with names that hold them', () => {
    expect(() => idsOf(options, 'machine')).toThrow(/an id from 0 to 4 or one of crane \(machine\), got "machine"/);
    expect(() => idsOf(options, 'zebra')).toThrow(/or one of crane \(bird\), .*, 0, got "zebra"/);
  });
});

describe('the classes of ImageNet', () => {
  const classes = imagenetClasses()!;

  it('are a thousand in the usual order, each with a name of its own', () => {
    expect(classes).toHaveLength(1000);
    expect(new Set(classes.map(([name]) => name.toLowerCase())).size).toBe(1000);
    const known = {
      0: 'tench',
      207: 'golden retriever',
      281: 'tabby',
      340: 'zebra',
      388: 'giant panda',
      999: 'toilet tissue',
    };
    for (const [id, name] of Object.entries(known)) expect(classes[Number(id)]![0]).toBe(name);
    expect(classes.flat().filter((name) => name === '' || name !== name.trim() || name.includes(','))).toEqual([]);
  });

  it('are named in a configuration by one word, which is kept', () => {
    const { conditions, config } = defineMaskgit({
      classNames: 'imagenet',
      tokenizer: null,
      transformer: { codebookSize: 8, grid: 2 },
    });
    expect(conditions.classNames).toHaveLength(1000);
    expect(config).toMatchObject({ classNames: 'imagenet', transformer: { numClasses: 1000 } });
    expect(conditions.parse(['sorrel', 'Carassius auratus'])).toMatchObject({ label: { data: Int32Array.of(339, 1) } });
    expect(() => defineMaskgit({ classNames: 'cifar' as never })).toThrow(/list of non-empty strings, or "imagenet"/);
  });
});
