/** The feature network of a dataset, and what generated images are compared with; both are kept in a cache folder. */
import { makeFolders, readFileChecked } from '@dimo/backend-node';
import { DimoError, type Dataset, type Engine } from '@dimo/core';
import {
  classifierSizeOf,
  createReference,
  mnistClassifierLocation,
  readClassifier,
  readReference,
  referenceKey,
  trainClassifier,
  writeClassifier,
  writeReference,
  type EvaluationReference,
  type FeatureExtractor,
} from '@dimo/eval';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DimoConfig } from './config/schema.js';
import { writeFileAtomically } from './run/folder.js';

/** What making them needs. */
export interface ReferenceContext {
  readonly engine: Engine;
  readonly config: DimoConfig;
  readonly onProgress: (line: string) => void;
}

/** Folder for what can be made again: `DIMO_CACHE`, else `dimo` in the user's cache folder. */
export function cacheFolder(): string {
  return process.env['DIMO_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'dimo');
}

/** Larger images need another network than this one. */
const largestSide = 64;
/** Steps that the classifier of a small dataset is trained for. */
const leastSteps = 1400;

/**
 * The feature network of a dataset: the bundled classifier for mnist; for other datasets of small images and several
 * classes one that is trained here once. Undefined where there is none.
 */
export async function loadExtractor(
  dataset: Dataset,
  context: ReferenceContext,
): Promise<FeatureExtractor | undefined> {
  if (dataset.name === 'mnist') {
    const path = fileURLToPath(mnistClassifierLocation);
    return readClassifier(await readFileChecked(path), path);
  }
  const size = classifierSizeOf(dataset);
  const [height, width] = size.imageShape;
  const sides = [height, width];
  if (sides.some((side) => side < 8 || side > largestSide) || size.numClasses < 2) return undefined;
  const name = `${dataset.name.replace(/[^a-z0-9-]/gi, '-')}-classifier`;
  const path = join(cacheFolder(), `${name}.safetensors`);
  const cached = await readIfGood(path, (bytes) => readClassifier(bytes, path, name, size));
  if (cached) return cached;
  context.onProgress(`training a classifier of ${dataset.name}, whose features the images are judged by (once) ...`);
  const { weights } = await trainClassifier({
    engine: context.engine,
    dataset,
    epochs: Math.max(3, (leastSteps * 128) / dataset.train.count),
  });
  const bytes = writeClassifier(weights);
  await keep(path, bytes, context);
  return readClassifier(bytes, path, name, size);
}

/** The reference of a dataset for the number of samples that the configuration asks for. */
export async function loadReference(
  dataset: Dataset,
  extractor: FeatureExtractor,
  context: ReferenceContext,
): Promise<EvaluationReference> {
  const options = { dataset, extractor, sampleCount: context.config.eval.count };
  const key = await referenceKey(options);
  const path = join(cacheFolder(), `reference-${key}.safetensors`);
  const cached = await readIfGood(path, (bytes) => readReference(bytes, path));
  if (cached?.key === key) return cached;
  context.onProgress(`features of the ${dataset.train.count} training images of ${dataset.name} (once) ...`);
  const reference = await createReference({ ...options, engine: context.engine });
  await keep(path, writeReference(reference), context);
  return reference;
}

/** Larger files than any of ours are not read. */
const maximumCachedBytes = 2 ** 31;

/** A file of the cache, or undefined if it is absent or damaged: it is made again. */
async function readIfGood<T>(path: string, read: (bytes: Uint8Array) => T): Promise<T | undefined> {
  try {
    return read(await readFileChecked(path, maximumCachedBytes, cacheFolder()));
  } catch (error) {
    if (DimoError.isInstance(error)) return undefined;
    throw error;
  }
}

/** A cache that cannot be written costs time, not the evaluation. */
async function keep(path: string, bytes: Uint8Array, { onProgress }: ReferenceContext): Promise<void> {
  try {
    await makeFolders(cacheFolder());
    await writeFileAtomically(path, bytes);
  } catch (error) {
    onProgress(
      `note: ${path} could not be kept for the next time: ${error instanceof Error ? error.message : 'unknown'}`,
    );
  }
}
