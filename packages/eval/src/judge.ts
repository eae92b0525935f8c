/**
 * The network whose features the images of a dataset are judged by: the bundled classifier for what is MNIST by its
 * content, a classifier that is trained on the dataset where there are classes, else a random network.
 */
import {
  OptionError,
  parseOptions,
  randomStream,
  sha256Hex,
  type Dataset,
  type Engine,
  type ResolvedOptions,
} from '@dimo/core';
import { z } from 'zod';
import { trainClassifier, type TrainClassifierOptions } from './classifier-training.js';
import {
  classifierExtractor,
  initializeClassifier,
  readClassifier,
  writeClassifier,
  type ClassifierSize,
} from './classifier.js';
import { datasetKey, labelledClasses } from './dataset-content.js';
import type { FeatureExtractor } from './feature-extractor.js';
import { judgeOptions } from './options.js';

/**
 * How a judge is made. `auto`: bundled for MNIST if the settings are the defaults, trained where there are at least two
 * classes, else random. A dataset with fewer images than `batchSize` has fewer per step.
 */
export type JudgeSettings = ResolvedOptions<typeof judgeOptions>;

/** Settings where nothing else is asked for. */
export const defaultJudgeSettings: JudgeSettings = parseOptions(z.strictObject(judgeOptions), {}, 'judge');

/** Which judge a dataset has, before anything is computed. */
export interface JudgePlan {
  readonly kind: 'bundled' | 'trained' | 'random';
  /** Identifies the judge by the content of the dataset, its settings and the version of its program. */
  readonly key: string;
  /** Recorded with the numbers. */
  readonly name: string;
  /** What a reader of the numbers has to know about it; absent where there is nothing special. */
  readonly remark?: string;
  readonly size: ClassifierSize;
  readonly numSteps: number;
  readonly batchSize: number;
}

/** Version of the network and of its training; part of the key. */
const programVersion = 2;
/** `datasetKey` of the MNIST that the bundled classifier was trained on. */
const mnistKey = 'aa1fee23121397e268a8e387c51038ce34c9c696d332238ab4b370ebacbeb3a9';

/**
 * Chooses the judge of a dataset.
 *
 * @throws OptionError if a trained one is asked for where no classes can be told apart, or a label is no class.
 */
export async function planJudge(dataset: Dataset, settings: JudgeSettings): Promise<JudgePlan> {
  const content = await datasetKey(dataset);
  const numClasses = labelledClasses(dataset);
  if (settings.kind === 'trained' && numClasses < 2)
    throw new OptionError(`eval.judge.kind: ${dataset.name} has no two classes that a judge could learn`, {
      hint: 'set it to auto or random',
    });
  const batchSize = Math.min(settings.batchSize, dataset.train.count);
  const passes = 3 * Math.floor(dataset.train.count / batchSize);
  const numSteps = settings.numSteps ?? Math.min(5000, Math.max(1400, passes));
  const { featureLength, learningRate, dropout, seed } = settings;
  const isRandom = settings.kind === 'random' || numClasses < 2;
  const isBundled = content === mnistKey && isDefault(settings);
  const kind = isBundled ? 'bundled' : isRandom ? 'random' : 'trained';
  const size: ClassifierSize = {
    imageShape: dataset.imageShape,
    numClasses: kind === 'random' ? 0 : numClasses,
    featureLength,
  };
  const made = kind === 'trained' ? [content, { numSteps, batchSize, learningRate, dropout }] : [dataset.imageShape];
  const parts = JSON.stringify([programVersion, kind, ...made, featureLength, seed]);
  const key = (await sha256Hex(new TextEncoder().encode(parts))).slice(0, 32);
  const common = { kind, key, size, numSteps, batchSize } as const;
  if (kind === 'bundled') return { ...common, name: 'mnist-classifier' };
  if (kind === 'trained') return { ...common, name: `a classifier of ${dataset.name} (${key.slice(0, 8)})` };
  const reason = numClasses > 1 ? '' : `, because ${dataset.name} has no two classes to learn`;
  return {
    ...common,
    name: `a random network (${key.slice(0, 8)})`,
    remark: `the features are those of a random network${reason}: they rank methods only roughly; inception score and class consistency need a classifier and are left out`,
  };
}

function isDefault(settings: JudgeSettings): boolean {
  return (Object.keys({ ...defaultJudgeSettings, ...settings }) as (keyof JudgeSettings)[]).every(
    (name) => settings[name] === defaultJudgeSettings[name],
  );
}

/** What making a judge needs. */
export interface MakeJudgeOptions extends Pick<TrainClassifierOptions, 'onProgress' | 'signal'> {
  readonly engine: Engine;
  readonly dataset: Dataset;
  readonly settings: JudgeSettings;
}

/**
 * Trains a judge of the kind `trained`.
 *
 * @returns its file, for `readJudge`.
 */
export async function trainJudge(plan: JudgePlan, options: MakeJudgeOptions): Promise<Uint8Array<ArrayBuffer>> {
  const { learningRate, dropout, featureLength, seed } = options.settings;
  const { numSteps, batchSize } = plan;
  const { weights, testAccuracy } = await trainClassifier({
    ...options,
    ...{ numSteps, batchSize, learningRate, dropout, featureLength, seed },
  });
  return writeClassifier(weights, {
    key: plan.key,
    ...(testAccuracy === undefined ? {} : { testAccuracy: String(testAccuracy) }),
  });
}

/** The judge from its file. @throws WeightError if the file is damaged or of another judge. */
export function readJudge({ name, size }: JudgePlan, bytes: Uint8Array, path?: string): FeatureExtractor {
  return readClassifier(bytes, path, name, size);
}

/** The judge of the kind `random`: the same for every dataset of this image shape. */
export function randomJudge({ name, size }: JudgePlan, seed: number): FeatureExtractor {
  return classifierExtractor(initializeClassifier(randomStream(seed, 0, 'judge/random'), size), name, size);
}
