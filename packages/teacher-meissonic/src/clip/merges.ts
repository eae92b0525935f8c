/** Do the merges of a byte-pair tokenizer and its vocabulary belong together? */
import { describeValue, OptionError } from '@dimo/core';

/** Mark of a token at the end of a word. */
export const endOfWord = '</w>';

/**
 * Checks that each merge joins two tokens that are there before it to one that is in the vocabulary, and that merges make
 * every token of the vocabulary. Where they do not, words would silently be spelled in other pieces than the text encoder
 * was trained on.
 *
 * @param specialTokens - tokens that are matched whole.
 * @throws OptionError naming the first merge or token that does not fit.
 */
export function checkMerges(
  vocabulary: Readonly<Record<string, number>>,
  merges: readonly string[],
  specialTokens: ReadonlySet<string>,
): void {
  const tokens = Object.keys(vocabulary);
  const known = new Set(tokens.filter(isSymbol));
  for (const merge of merges) {
    const [left, right, ...rest] = merge.split(' ');
    const isPair = left !== undefined && right !== undefined && rest.length === 0;
    if (!isPair || !Object.hasOwn(vocabulary, left + right))
      throw mismatch(`the merge ${describeValue(merge)} must be two tokens whose union is in the vocabulary`);
    const unmade = [left, right].find((part) => !known.has(part));
    if (unmade !== undefined)
      throw mismatch(`the merge ${describeValue(merge)} comes before any merge that makes ${describeValue(unmade)}`);
    known.add(left + right);
  }
  const unmade = tokens.filter((token) => !known.has(token) && !specialTokens.has(token));
  if (unmade.length > 0)
    throw mismatch(
      `no merge makes ${unmade.length} of ${tokens.length} tokens of the vocabulary, such as ${describeValue(unmade[0])}; there are ${merges.length} merges`,
    );
}

/** One symbol of the alphabet of bytes, at the end of a word or not. */
function isSymbol(token: string): boolean {
  const symbol = token.endsWith(endOfWord) ? token.slice(0, -endOfWord.length) : token;
  return [...symbol].length === 1;
}

function mismatch(problem: string): OptionError {
  return new OptionError(`CLIP tokenizer: ${problem}`, {
    hint: 'vocabulary and merges are of different tokenizers, or a file is cut off or damaged; copy both again',
  });
}
