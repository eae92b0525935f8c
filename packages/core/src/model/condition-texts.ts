/** Conditions from lists of texts: prompts for training a text-to-image model, one each. */
import { DimoError, OptionError } from '../errors.js';
import type { ConditionSource } from './model.js';

/** A line of a text file. */
export interface TextLine {
  /** From 1, as editors count. */
  readonly line: number;
  /** Without white space at its ends. */
  readonly text: string;
}

/**
 * The lines of a text that are not blank, without white space at their ends. A line ends with a line feed, a carriage
 * return or both, and where Unicode ends one: form feed, vertical tab, U+0085, U+2028, U+2029.
 */
export function textLines(text: string): TextLine[] {
  return text.split(/\r\n|[\n\v\f\r\u0085\u2028\u2029]/).flatMap((line, index) => {
    const trimmed = line.trim();
    return trimmed === '' ? [] : [{ line: index + 1, text: trimmed }];
  });
}

/**
 * The prompts of a text file: one per line, blank lines left out, as `textLines` has them.
 *
 * @param where - the file, for messages.
 * @throws OptionError if there is none.
 */
export function promptLines(text: string, where = 'prompts'): string[] {
  const lines = textLines(text);
  if (lines.length === 0)
    throw new OptionError(`${where}: expected one prompt per line, found no line that is not blank`);
  return lines.map((line) => line.text);
}

/** Texts that are named in a message about a list of them. */
const maximumNamed = 5;

/**
 * Checks every text that a run may draw, before it starts.
 *
 * @param conditions - what understands the texts.
 * @param where - the file, for messages.
 * @returns the lines of which only the beginning is read.
 * @throws OptionError naming the lines that are not understood.
 */
export async function checkTexts(
  conditions: ConditionSource,
  lines: readonly TextLine[],
  where: string,
): Promise<TextLine[]> {
  const cut: TextLine[] = [];
  const faults: string[] = [];
  let numFaults = 0;
  let hint: string | undefined;
  for (const line of lines)
    try {
      if (!conditions.check) await conditions.parse([line.text]);
      else if (conditions.check([line.text]).length > 0) cut.push(line);
    } catch (error) {
      if (!DimoError.isInstance(error) || error.code !== 'option') throw error;
      hint ??= error.hint;
      if (++numFaults <= maximumNamed) faults.push(`${where}:${line.line}: ${error.message}`);
    }
  if (numFaults === 0) return cut;
  const rest = numFaults > maximumNamed ? [`and ${numFaults - maximumNamed} more lines of ${where}`] : [];
  throw new OptionError([...faults, ...rest].join('\n'), { path: where, hint });
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
