/** Conditions from lists of texts: prompts for training a text-to-image model, one each. */
import { OptionError } from './errors.js';
import type { ConditionSource } from './model.js';

/**
 * The prompts of a text file: one per line, blank lines left out.
 *
 * @param where - the file, for messages.
 * @throws OptionError if there is none.
 */
export function promptLines(text: string, where = 'prompts'): string[] {
  const lines = text.split(/\r?\n/).flatMap((line) => line.trim() || []);
  if (lines.length === 0)
    throw new OptionError(`${where}: expected one prompt per line, found no line that is not blank`);
  return lines;
}

/**
 * A source whose conditions are drawn from a list of texts, uniformly and with replacement.
 *
 * @param conditions - what understands the texts.
 * @param texts - at least one.
 * @throws OptionError if the list is empty.
 */
export function drawnFromTexts(conditions: ConditionSource, texts: readonly string[]): ConditionSource {
  if (texts.length === 0) throw new OptionError('drawnFromTexts: expected at least one text, got none');
  return {
    ...conditions,
    parse: (given) => conditions.parse(given),
    sample: (random, count) => conditions.parse(Array.from(random.integers(count, texts.length), (i) => texts[i]!)),
  };
}
