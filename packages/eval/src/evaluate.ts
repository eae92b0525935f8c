/** All metrics of one set of generated images: one row of the table. */
import {
  OptionError,
  parseOptions,
  pickOptions,
  ShapeError,
  type Engine,
  type GivenOptions,
  type ResolvedOptions,
  type HostTensor,
} from '@dimo/core';
import { z } from 'zod';
import { classConsistency, intraClassVariance } from './class-metrics.js';
import {
  extractFeatures,
  imageSource,
  type ExtractOptions,
  type FeatureExtractor,
  type ImageFeatures,
} from './feature-extractor.js';
import { featureStatistics } from './feature-statistics.js';
import { frechetDistance } from './frechet-distance.js';
import { inceptionScore } from './inception-score.js';
import { manifoldMetrics } from './manifold-metrics.js';
import { softmaxRows } from './matrix.js';
import { metricOptions } from './options.js';
import { referenceManifold, type EvaluationReference } from './reference.js';

/** Metrics of one set of images. */
export interface ImageMetrics {
  /** Number of images; rows of different numbers cannot be compared. */
  readonly count: number;
  /** Frechet distance of the features to those of all training images, >= 0. */
  readonly fid: number;
  /** Absent where the extractor knows no classes. */
  readonly inceptionScore?: number;
  readonly precision: number;
  readonly recall: number;
  readonly density: number;
  readonly coverage: number;
  /** Absent if the images have no labels, or the extractor knows no classes. */
  readonly classConsistency?: number;
  /** Absent if the images have no labels, or no class has two of them. */
  readonly intraClassVariance?: number;
}

/** One row of the table; what was not measured is absent. */
export interface EvaluationRow extends Partial<ImageMetrics> {
  readonly count: number;
  /** Frechet distance of features that keep their place in the image. */
  readonly sFid?: number;
  /** Maximum mean discrepancy of CLIP features, times 1000. */
  readonly cmmd?: number;
  /** Mean of 100 max(0, cosine) of images and captions. */
  readonly clipScore?: number;
  /** What made the images: `teacher`, `generator (average)`. */
  readonly method: string;
  /** Passes of the model per image; absent for real images. */
  readonly steps?: number;
  /** Generation rate, tokens and decoding. */
  readonly imagesPerSecond?: number;
}

/** How the metrics are computed. */
export type MetricOptions = GivenOptions<typeof metricOptions>;

const schema = z.strictObject(metricOptions);

function resolveMetrics(options: MetricOptions): ResolvedOptions<typeof metricOptions> {
  return parseOptions(schema, pickOptions(metricOptions, options), 'evaluation');
}

/**
 * Metrics from features and logits.
 *
 * @param options.labels - class that each image was asked for.
 * @throws OptionError if the number of images is not that of the reference's subset.
 */
export function imageMetrics(
  images: ImageFeatures,
  reference: EvaluationReference,
  options: MetricOptions & { readonly labels?: ArrayLike<number> } = {},
): ImageMetrics {
  const { features, logits } = images;
  const { labels } = options;
  const { inceptionSplits, ...manifold } = resolveMetrics(options);
  if (features.rows !== reference.subset.rows)
    throw new OptionError(
      `evaluation: the reference has ${reference.subset.rows} images, got ${features.rows}; recall, coverage and FID depend on the number, so make the reference with sampleCount ${features.rows}`,
    );
  return {
    count: features.rows,
    fid: frechetDistance(featureStatistics(features), reference.statistics),
    ...(logits && { inceptionScore: inceptionScore(softmaxRows(logits), inceptionSplits).mean }),
    ...manifoldMetrics(referenceManifold(reference, manifold), features),
    ...(labels && logits && { classConsistency: classConsistency(logits, labels) }),
    ...(labels && hasPair(labels) && { intraClassVariance: intraClassVariance(features, labels) }),
  };
}

/** True if some class has two images, which a variance needs. */
function hasPair(labels: ArrayLike<number>): boolean {
  return new Set(Array.from(labels)).size < labels.length;
}

/**
 * What the numbers of a table depend on, in sentences for the notes of a report: extractor, reference, neighbours.
 *
 * @param extractor - the one that was used.
 * @param options - as given to `evaluateSamples`.
 */
export function evaluationNotes(
  extractor: Pick<FeatureExtractor, 'name' | 'featureLength'>,
  reference: EvaluationReference,
  options: MetricOptions = {},
): string[] {
  const { precisionNeighbors, densityNeighbors, inceptionSplits } = resolveMetrics(options);
  return [
    `Features: ${extractor.featureLength} numbers of "${extractor.name}"; distances of other extractors cannot be compared with these.`,
    `FID against all ${reference.statistics.count} training images; precision and recall with k = ${precisionNeighbors}, density and coverage with k = ${densityNeighbors}, against ${reference.subset.rows} of them; every row has ${reference.subset.rows} images. Inception score over ${inceptionSplits} splits.`,
    `Intra-class variance of the training images: ${reference.intraClassVariance.toFixed(1)}.`,
  ];
}

/** Arguments of `evaluateSamples`. */
export interface EvaluateSamplesOptions
  extends MetricOptions, Pick<ExtractOptions, 'batchSize' | 'onProgress' | 'signal'> {
  readonly engine: Engine;
  readonly extractor: FeatureExtractor;
  readonly reference: EvaluationReference;
  /** float32 [count, H, W, C] in [0, 1]. */
  readonly images: HostTensor<'float32'>;
  /** int32 [count], class that each image was asked for. */
  readonly labels?: HostTensor<'int32'>;
  readonly method: string;
  readonly steps?: number;
  readonly imagesPerSecond?: number;
}

/**
 * Extracts features and computes all metrics.
 *
 * @throws ShapeError, OptionError, NonFiniteError for images or labels that do not fit.
 */
export async function evaluateSamples(options: EvaluateSamplesOptions): Promise<EvaluationRow & ImageMetrics> {
  const { images, labels, method, steps, imagesPerSecond, reference } = options;
  if (labels && labels.data.length !== images.shape[0])
    throw new ShapeError(`evaluation of "${method}": ${images.shape[0]} images but ${labels.data.length} labels`);
  const features = await extractFeatures({ ...options, images: imageSource(images) });
  return {
    method,
    ...(steps === undefined ? {} : { steps }),
    ...imageMetrics(features, reference, {
      ...pickOptions(metricOptions, options),
      ...(labels ? { labels: labels.data } : {}),
    }),
    ...(imagesPerSecond === undefined ? {} : { imagesPerSecond }),
  };
}
