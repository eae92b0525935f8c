/** Conditions from what a person typed: prompts, classes, ranges of classes. */
import { DimoError, OptionError, sampleStream, type ConditionSource, type HostTree } from '@dimo/core';

/** Conditions of a batch of samples, with what they are in words. */
export interface NamedConditions {
  readonly condition: HostTree;
  /** As typed or by class name; empty where conditions have no names. */
  readonly labels: readonly string[];
  /** How many different ones there are, for the columns of a grid. */
  readonly numDifferent: number;
}

/** What to sample. */
export interface ConditionRequest {
  /** Prompts or classes, one each; taken as they are. */
  readonly prompts?: readonly string[];
  /** Classes in the notation of `parseClasses`; only without prompts. */
  readonly classes?: string | undefined;
  readonly seed: number;
  /** Index of the first sample. A condition follows from the seed and the index of its sample alone. @default 0 */
  readonly firstIndex?: number | undefined;
}

/**
 * Conditions for `count` samples: the prompts or classes that were named in turn, else all classes in turn, else random
 * ones.
 *
 * @throws OptionError for a prompt or class that the teacher does not understand.
 */
export async function conditionsFor(
  source: ConditionSource,
  count: number,
  { prompts = [], classes, seed, firstIndex = 0 }: ConditionRequest,
): Promise<NamedConditions> {
  if (prompts.length > 0 && classes !== undefined)
    throw new OptionError('prompts and classes exclude each other; give one of them');
  const texts =
    prompts.length > 0
      ? prompts
      : classes === undefined
        ? (source.classNames?.map((_, id) => String(id)) ?? [])
        : parseClasses(classes, source.classNames);
  if (texts.length === 0)
    return {
      condition: await drawConditions(source, { seed, firstIndex, count }),
      labels: [],
      numDifferent: 0,
    };
  const wanted = Array.from({ length: count }, (_, i) => texts[(firstIndex + i) % texts.length]!);
  return { condition: await source.parse(wanted), labels: wanted, numDifferent: texts.length };
}

async function drawConditions(
  source: ConditionSource,
  { seed, firstIndex, count }: { readonly seed: number; readonly firstIndex: number; readonly count: number },
): Promise<HostTree> {
  try {
    return await source.sample(sampleStream(seed, firstIndex, count, 'sample/conditions'), count);
  } catch (error) {
    // Text models have nothing to draw from unless somebody writes it.
    if (!DimoError.isInstance(error) || error.code !== 'option') throw error;
    throw new OptionError(error.message, { hint: 'say what to generate, such as "a red ball"', cause: error });
  }
}

/** Classes that `--classes` names at most. */
const maximumClasses = 100_000;

/**
 * `0-9` and `3,cat` as a list. A name that holds a comma or looks like a range can be given alone if it is a class name.
 *
 * @param maximum - classes in all; they are counted before a range is written out.
 * @throws OptionError for an empty part, a range that does not ascend, or more than `maximum` classes.
 */
export function parseClasses(
  text: string,
  classNames: readonly string[] | undefined,
  maximum: number = maximumClasses,
): string[] {
  if (classNames?.includes(text)) return [text];
  const parts = text.split(',').map((part) => part.trim());
  const tooMany = (): OptionError =>
    new OptionError(`classes: at most ${maximum} classes can be named, ranges written out`);
  if (parts.length > maximum) throw tooMany();
  const classes: string[] = [];
  for (const part of parts) {
    if (part === '') throw new OptionError(`classes: "${text}" has an empty part; write 0-9 or 3,5,7`);
    const range = /^(\d{1,9})-(\d{1,9})$/.exec(part);
    const [from, to] = range ? [Number(range[1]), Number(range[2])] : [0, 0];
    if (from > to) throw new OptionError(`classes: the range "${part}" must ascend`);
    if (classes.length + (to - from + 1) > maximum) throw tooMany();
    if (!range) {
      classes.push(part);
      continue;
    }
    for (let id = from; id <= to; id++) classes.push(String(id));
  }
  return classes;
}
