/** What the samples of an evaluation are asked for, the same for every row. */
import { int32, OptionError, randomStream, type ConditionSource, type Dataset, type HostTensor } from '@dimo/core';
import { readFileChecked } from '@dimo/backend-node';
import { givenLabels } from '@dimo/eval';
import { conditionsFor, type NamedConditions } from './samplers.js';

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
  const known = dataset && (givenLabels(dataset.test) ?? givenLabels(dataset.train));
  if (!known || classNames?.length !== dataset.classNames.length) return conditionsFor(conditions, count, { seed: 0 });
  const order = randomStream(0, 0, 'evaluation/labels').permutation(known.length);
  const ids = Int32Array.from({ length: count }, (_, i) => known[order[i % order.length]!]!);
  const labels = Array.from(ids, String);
  return {
    condition: await conditions.parse(labels),
    labels,
    numDifferent: classNames.length,
    ids: int32([count], ids),
  };
}

async function describedConditions(
  conditions: ConditionSource,
  count: number,
  { train }: Dataset,
): Promise<EvaluationConditions> {
  const order = randomStream(0, 0, 'evaluation/images').permutation(train.count);
  const choice = randomStream(0, 0, 'evaluation/texts').uniform(count);
  const images = Array.from({ length: count }, (_, i) => order[i % order.length]!);
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
  const text = new TextDecoder().decode(await readFileChecked(path, maximumPromptBytes));
  const prompts = text.split(/\r?\n/).flatMap((line): PagePrompt[] => {
    const [prompt = '', remark] = line.trim().split(/\s+#\s+/);
    return prompt === '' ? [] : [{ prompt, remark }];
  });
  if (prompts.length === 0 || prompts.length > maximumPrompts)
    throw new OptionError(`eval.prompts: expected 1 to ${maximumPrompts} prompts, one a line, got ${prompts.length}`, {
      path,
    });
  return prompts;
}
