/** What the samples of an evaluation are asked for, the same for every row. */
import {
  decodeText,
  int32,
  OptionError,
  randomStream,
  textLines,
  type ConditionSource,
  type Dataset,
  type HostTensor,
} from '@dimo/core';
import { readFileChecked } from '@dimo/backend-node';
import { givenLabels } from '@dimo/eval';
import { conditionsFor, type NamedConditions } from '@dimo/pipeline';

/** Conditions of an evaluation. */
export interface EvaluationConditions extends NamedConditions {
  /** Class that each sample should have, int32 [count]; absent where there are no classes. */
  readonly ids?: HostTensor<'int32'>;
  /** Prompts, where the teacher takes prompts. */
  readonly texts?: readonly string[];
  /** Training images whose texts the prompts are; absent where there are no texts. */
  readonly images?: readonly number[];
}

/**
 * Conditions of an evaluation. Where the dataset describes its images in words: a text of each of `count` random training
 * images. Where the teacher's classes are those of the dataset: the labels of test images in random order, so that the mix
 * of classes is the real one (of training images, where there are none for testing). Else all classes in turn, or random
 * conditions.
 *
 * @throws OptionError if the teacher takes prompts and there are none.
 */
export async function evaluationConditions(
  conditions: ConditionSource,
  count: number,
  dataset: Dataset | undefined,
): Promise<EvaluationConditions> {
  const { classNames } = conditions;
  if (dataset?.train.texts && !classNames) return describedConditions(conditions, count, dataset);
  const isSame = dataset !== undefined && classNames?.length === dataset.classNames.length;
  const ids = isSame ? testClasses(dataset, count) : undefined;
  if (!ids) return conditionsFor(conditions, count, { seed: 0 });
  const labels = Array.from(ids, String);
  return {
    condition: await conditions.parse(labels),
    labels,
    numDifferent: classNames!.length,
    ids: int32([count], ids),
  };
}

/** Classes of test images, of training images where those have none, in random order; undefined without labels. */
function testClasses({ test, train }: Dataset, count: number): Int32Array | undefined {
  const known = givenLabels(test) ?? givenLabels(train);
  if (!known) return undefined;
  const order = randomStream(0, 0, 'evaluation/labels').permutation(known.length);
  return Int32Array.from({ length: count }, (_, i) => known[order[i % order.length]!]!);
}

/** Training images in random order. */
function trainingImages({ train }: Dataset, count: number): number[] {
  const order = randomStream(0, 0, 'evaluation/images').permutation(train.count);
  return Array.from({ length: count }, (_, i) => order[i % order.length]!);
}

/** The classes that the samples of an evaluation will be asked for; undefined where they are asked for none. */
export function evaluationClasses(
  { classNames }: Pick<ConditionSource, 'classNames'>,
  count: number,
  dataset: Dataset,
): Int32Array | undefined {
  const known = givenLabels(dataset.train);
  if (dataset.train.texts && !classNames)
    return known && Int32Array.from(trainingImages(dataset, count), (image) => known[image]!);
  return classNames?.length === dataset.classNames.length ? testClasses(dataset, count) : undefined;
}

async function describedConditions(
  conditions: ConditionSource,
  count: number,
  dataset: Dataset,
): Promise<EvaluationConditions> {
  const { train } = dataset;
  const choice = randomStream(0, 0, 'evaluation/texts').uniform(count);
  const images = trainingImages(dataset, count);
  const texts = images.map((image, i) => {
    const list = train.texts![image]!;
    return list[Math.floor(choice[i]! * list.length)]!;
  });
  const known = givenLabels(train);
  const ids = known && images.map((image) => known[image]!);
  return {
    condition: await conditions.parse(texts),
    labels: texts,
    numDifferent: 0,
    ...(ids ? { ids: int32([count], ids) } : {}),
    texts,
    images,
  };
}

/** A prompt of the page of pictures. */
export interface PagePrompt {
  /** Line of the file, from 1. */
  readonly line: number;
  readonly prompt: string;
  /** What follows ` # ` in its line. */
  readonly remark: string | undefined;
}

/** A megabyte of prompts is no page. */
const maximumPromptBytes = 2 ** 20;
/** Prompts on a page. */
const maximumPrompts = 64;

/** Reads the prompts of a page. @throws OptionError if there are none, or too many. */
export async function readPagePrompts(path: string): Promise<PagePrompt[]> {
  const lines = textLines(decodeText(await readFileChecked(path, maximumPromptBytes), path));
  const prompts = lines.flatMap(({ line, text }): PagePrompt[] => {
    const [prompt = '', remark] = text.split(/\s+#\s+/);
    return prompt === '' ? [] : [{ line, prompt, remark }];
  });
  if (prompts.length === 0 || prompts.length > maximumPrompts)
    throw new OptionError(`eval.prompts: expected 1 to ${maximumPrompts} prompts, one a line, got ${prompts.length}`, {
      path,
    });
  return prompts;
}
