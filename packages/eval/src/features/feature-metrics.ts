/** The metrics that papers print, from the features of generated images and a reference. */
import { OptionError, ShapeError } from '@dimo/core';
import { featureStatistics } from '../feature-statistics.js';
import { frechetDistance } from '../frechet-distance.js';
import { inceptionScore } from '../inception-score.js';
import { manifoldMetrics, realManifold, type ManifoldOptions } from '../manifold-metrics.js';
import type { NetworkFeatures } from './feature-network.js';
import { meanDiscrepancy } from './mean-discrepancy.js';
import type { FeatureReference } from './reference-statistics.js';

/** Metrics by name, each with what it needs. */
export const featureMetricNames = ['fid', 'is', 'neighbors', 'sfid', 'cmmd'] as const;

/** Name of a metric or of a group of metrics; `neighbors`: precision, recall, density and coverage. */
export type FeatureMetricName = (typeof featureMetricNames)[number];

/** Metrics of one set of images. */
export interface FeatureMetrics {
  readonly fid?: number;
  readonly inceptionScore?: number;
  readonly precision?: number;
  readonly recall?: number;
  readonly density?: number;
  readonly coverage?: number;
  /** Frechet distance of the features that keep their place. */
  readonly sFid?: number;
  readonly cmmd?: number;
}

/** Options of `featureMetrics`. */
export interface FeatureMetricOptions extends ManifoldOptions {
  /** @default all that the network and the reference allow; cmmd only for normalized features */
  readonly metrics?: readonly FeatureMetricName[];
  /** Parts of the inception score. @default 10 */
  readonly inceptionSplits?: number;
}

/** What of a metric's needs is there. */
export interface FeatureParts {
  readonly hasStatistics: boolean;
  readonly hasSpatialStatistics: boolean;
  readonly hasFeatures: boolean;
  readonly hasProbabilities: boolean;
  readonly hasSpatial: boolean;
  readonly isNormalized: boolean;
}

/**
 * The metrics that will be computed; known before anything is.
 *
 * @param asked - names; empty for all that can be computed, which may be none.
 * @throws OptionError for a name that is none, or what a metric needs and is not there.
 */
export function chooseFeatureMetrics(
  asked: readonly string[],
  parts: FeatureParts,
  reference: string,
): FeatureMetricName[] {
  const absent: Readonly<Record<FeatureMetricName, string | undefined>> = {
    fid: parts.hasStatistics ? undefined : `${reference} has no statistics (mu, sigma)`,
    is: parts.hasProbabilities ? undefined : 'the network is described without logits or probabilities',
    neighbors: parts.hasFeatures
      ? undefined
      : `${reference} has means and covariances but no features of single images; compare with a folder, or with a file of \`dimo features --keep-features\``,
    sfid: !parts.hasSpatial
      ? 'the network is described without spatial features'
      : parts.hasSpatialStatistics
        ? undefined
        : `${reference} has no spatial statistics (mu_s, sigma_s)`,
    cmmd: parts.hasFeatures ? undefined : `${reference} has no features of single images`,
  };
  const isName = (name: string): name is FeatureMetricName => Object.hasOwn(absent, name);
  for (const name of asked) {
    if (!isName(name))
      throw new OptionError(`there is no metric "${name}"; known are ${featureMetricNames.join(', ')}`);
    if (absent[name] !== undefined) throw new OptionError(`the metric ${name} cannot be computed: ${absent[name]}`);
  }
  if (asked.length > 0) return [...new Set(asked.filter(isName))];
  return featureMetricNames.filter((name) => absent[name] === undefined && (name !== 'cmmd' || parts.isNormalized));
}

/**
 * Metrics of generated images.
 *
 * @throws ShapeError if the reference is of features of another width; OptionError for too few samples; NonFiniteError.
 */
export function featureMetrics(
  generated: NetworkFeatures,
  reference: FeatureReference,
  options: FeatureMetricOptions & { readonly metrics: readonly FeatureMetricName[] },
): FeatureMetrics {
  const { metrics, inceptionSplits = 10, ...manifold } = options;
  const wants = (name: FeatureMetricName) => metrics.includes(name);
  const { features, probabilities, spatial } = generated;
  checkReference(generated, reference);
  return {
    ...(wants('fid') && reference.statistics
      ? { fid: frechetDistance(featureStatistics(features), reference.statistics) }
      : {}),
    ...(wants('sfid') && spatial && reference.spatialStatistics
      ? { sFid: frechetDistance(featureStatistics(spatial), reference.spatialStatistics) }
      : {}),
    ...(wants('is') && probabilities ? { inceptionScore: inceptionScore(probabilities, inceptionSplits).mean } : {}),
    ...(wants('neighbors') && reference.features
      ? manifoldMetrics(realManifold(reference.features, manifold), features)
      : {}),
    ...(wants('cmmd') && reference.features ? { cmmd: meanDiscrepancy(reference.features, features) } : {}),
  };
}

/** @throws ShapeError if a reference is of another network than the features */
export function checkReference({ features, spatial }: NetworkFeatures, reference: FeatureReference): void {
  const check = (what: string, width: number | undefined, expected: number | undefined) => {
    if (width !== undefined && expected !== undefined && width !== expected)
      throw new ShapeError(
        `the network gives ${width} ${what} per image, but ${reference.name} was made with ${expected}; use the network that the reference was made with`,
      );
  };
  check('features', features.columns, reference.statistics?.mean.length);
  check('features', features.columns, reference.features?.columns);
  check('spatial features', spatial?.columns, reference.spatialStatistics?.mean.length);
}
