import { describe, expect, it } from 'vitest';
import { meaningfulWords, vocabularyOf } from './words.js';

describe('words', () => {
  const vocabulary = vocabularyOf(['cat', 'heart', 'blue', 'sunglasses']);

  it('are told apart from punctuation, accents and small words', () => {
    expect(meaningfulWords('A Piñata, with the “cat”!')).toEqual(['pinata', 'cat']);
  });

  it('have ids from 1 on, in the order of the prompt; 0 fills up', () => {
    const { shape, data } = vocabulary.encode(['a blue heart', 'cats with sunglasses'], 3);
    expect(shape).toEqual([2, 3]);
    expect([...data]).toEqual([3, 2, 0, 1, 4, 0]);
  });

  it('must be known and fit', () => {
    expect(() => vocabulary.encode(['blue cat', 'blue heat'], 4)).toThrow(
      /prompt "blue heat": "heat" is not one of the 4/,
    );
    expect(() => vocabulary.encode(['blue blue cat'], 2)).toThrow(/at most 2 words, got 3/);
    expect(() => vocabularyOf(['cat', 'cat'])).toThrow(/must differ/);
  });
});
