/**
 * What generated images are compared with: statistics of the features of all training images, and the features of a
 * fixed random subset of them for the metrics by neighbours. Made once (a pass over the training set) and kept in a file.
 */
import {
  float32,
  OptionError,
  parseOptions,
  pickOptions,
  randomStream,
  readSafetensors,
  sha256Hex,
  WeightError,
  writeSafetensors,
  type Dataset,
  type Engine,
  type GivenOptions,
  type ResolvedOptions,
  type HostTree,
} from '@dimo/core';
import { z } from 'zod';
import { intraClassVariance } from './class-metrics.js';
import { datasetKey, givenLabels } from './dataset-content.js';
import { extractFeatures, splitSource, type ExtractOptions, type FeatureExtractor } from './feature-extractor.js';
import { featureStatistics, type FeatureStatistics } from './feature-statistics.js';
import { realManifold, type ManifoldOptions, type RealManifold } from './manifold-metrics.js';
import { matrix, takeMatrixRows, type Matrix } from './matrix.js';
import { referenceOptions } from './options.js';

/** What a reference depends on. */
export interface ReferenceOptions extends GivenOptions<typeof referenceOptions> {
  readonly extractor: FeatureExtractor;
  readonly dataset: Dataset;
}

const schema = z.strictObject(referenceOptions);

/** Reference for evaluations. */
export interface EvaluationReference {
  /** Identifies extractor (with its weights), the content of the dataset, and subset. */
  readonly key: string;
  /** Of all training images. */
  readonly statistics: FeatureStatistics & { readonly count: number };
  /** Features [sampleCount, D] of the subset. */
  readonly subset: Matrix;
  /** Intra-class variance of all training images, to see those of the generators against. */
  readonly intraClassVariance: number;
}

/** Format of the file; part of the key. */
const formatVersion = 2;

/**
 * Key of a reference, 16 hexadecimal digits: a name for its file. Other weights, images, labels, shapes, seed or number
 * give another key; the name of the dataset has no part in it.
 */
export async function referenceKey(options: ReferenceOptions): Promise<string> {
  const { extractor, dataset } = options;
  const { sampleCount, seed } = subsetOf(options);
  const bytes = new TextEncoder();
  const parts = [
    JSON.stringify([formatVersion, extractor.name, extractor.imageShape, sampleCount, seed]),
    await sha256Hex(writeSafetensors(extractor.weights)),
    await datasetKey(dataset),
  ];
  return (await sha256Hex(bytes.encode(parts.join('\n')))).slice(0, 16);
}

/** Makes the reference: runs the extractor over the training split. */
export async function createReference(
  options: ReferenceOptions & { readonly engine: Engine } & Pick<ExtractOptions, 'batchSize' | 'onProgress' | 'signal'>,
): Promise<EvaluationReference> {
  const { extractor, dataset } = options;
  const { train, imageShape } = dataset;
  const { sampleCount, seed } = subsetOf(options);
  const { features } = await extractFeatures({ ...options, extractor, images: splitSource(imageShape, train) });
  const { mean, covariance } = featureStatistics(features);
  const subset = randomStream(seed, 0, 'evaluation/reference').permutation(train.count).slice(0, sampleCount);
  const length = features.columns;
  // Through float32, so that a reference from a file and a fresh one give the same metrics.
  return fromTensors(
    {
      mean: float32([length], mean),
      covariance: float32([length, length], covariance),
      subset: float32([sampleCount, length], takeMatrixRows(features, subset).data),
      intraClassVariance: float32(
        [],
        [intraClassVariance(features, givenLabels(train) ?? new Int32Array(train.count))],
      ),
    },
    train.count,
    await referenceKey(options),
  );
}

/** The reference as a safetensors file. */
export function writeReference(reference: EvaluationReference): Uint8Array<ArrayBuffer> {
  const { statistics, subset } = reference;
  const length = statistics.mean.length;
  return writeSafetensors(
    {
      mean: float32([length], statistics.mean),
      covariance: float32([length, length], statistics.covariance),
      subset: float32([subset.rows, length], subset.data),
      intraClassVariance: float32([], [reference.intraClassVariance]),
    },
    { metadata: { key: reference.key, count: String(statistics.count) } },
  );
}

/**
 * The reference from its file.
 *
 * @param path - for error messages.
 * @throws WeightError if the file is damaged or of another kind.
 */
export function readReference(bytes: Uint8Array, path?: string): EvaluationReference {
  const { tensors, metadata } = readSafetensors(bytes, { path });
  const length = tensors['mean']?.shape[0] ?? 0;
  const shapes: Record<string, readonly number[]> = {
    mean: [length],
    covariance: [length, length],
    subset: [tensors['subset']?.shape[0] ?? 0, length],
    intraClassVariance: [],
  };
  const count = Number(metadata['count']);
  const key = metadata['key'];
  for (const [name, shape] of Object.entries(shapes))
    if (tensors[name]?.dtype !== 'float32' || tensors[name].shape.join() !== shape.join() || length < 1)
      throw new WeightError(`evaluation reference: expected "${name}" as float32 [${shape.join(', ')}]`, {
        path,
        hint: 'delete the file; it is made again',
      });
  if (key === undefined || !Number.isSafeInteger(count) || count < 2)
    throw new WeightError('evaluation reference: expected "key" and "count" in the metadata', {
      path,
      hint: 'delete the file; it is made again',
    });
  return fromTensors(tensors, count, key);
}

const manifolds = new WeakMap<EvaluationReference, Map<string, RealManifold>>();

/** The subset prepared for the metrics by neighbours; prepared once per reference and options. */
export function referenceManifold(reference: EvaluationReference, options: ManifoldOptions = {}): RealManifold {
  const name = `${options.precisionNeighbors} ${options.densityNeighbors}`;
  const known = manifolds.get(reference) ?? new Map<string, RealManifold>();
  manifolds.set(reference, known);
  const manifold = known.get(name) ?? realManifold(reference.subset, options);
  known.set(name, manifold);
  return manifold;
}

function fromTensors(tensors: HostTree, count: number, key: string): EvaluationReference {
  const data = (name: string) => tensors[name]!.data as Float32Array;
  const length = tensors['mean']!.shape[0]!;
  return {
    key,
    statistics: { count, mean: Float64Array.from(data('mean')), covariance: Float64Array.from(data('covariance')) },
    subset: matrix(data('subset'), length),
    intraClassVariance: data('intraClassVariance')[0]!,
  };
}

/** The number of generated images that are evaluated must be that of the subset. */
function subsetOf(options: ReferenceOptions): ResolvedOptions<typeof referenceOptions> {
  const { name, train } = options.dataset;
  const subset = parseOptions(schema, pickOptions(referenceOptions, options), 'evaluation');
  if (subset.sampleCount > train.count)
    throw new OptionError(
      `evaluation: sampleCount must be an integer from 2 to ${train.count}, the training images of "${name}", got ${subset.sampleCount}`,
    );
  return subset;
}
