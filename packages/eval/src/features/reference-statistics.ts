/** Reference statistics in the archives of pytorch-fid, clean-fid and ADM, and in our own, which adds the features. */
import { NonFiniteError, OptionError, ShapeError, sizeOf } from '@dimo/core';
import type { FeatureStatistics } from '../feature-statistics.js';
import { matrix, type Matrix } from '../matrix.js';
import { npyHeader } from './npy.js';
import type { NpzArray } from './npz.js';

/** What images are compared with; what a file does not hold is absent. */
export interface FeatureReference {
  /** For messages. */
  readonly name: string;
  readonly statistics?: FeatureStatistics;
  /** Of features that keep their place, for sFID. */
  readonly spatialStatistics?: FeatureStatistics;
  /** [count, D], for the metrics that compare samples with samples. */
  readonly features?: Matrix;
}

/** Names of the arrays: means and covariances as pytorch-fid and ADM have them, features, images. */
const names = { mean: 'mu', covariance: 'sigma', spatialMean: 'mu_s', spatialCovariance: 'sigma_s' } as const;
const imagesName = 'arr_0';
const featuresName = 'features';

/** Differences of entries that should be equal, relative to the largest: of float32 statistics. */
const symmetryTolerance = 1e-4;

/**
 * The statistics and features of an archive.
 *
 * @param path - for messages.
 * @throws OptionError if there are none; ShapeError and NonFiniteError if they are no means, covariances and features.
 */
export async function readFeatureReference(
  arrays: ReadonlyMap<string, NpzArray>,
  path: string,
): Promise<FeatureReference> {
  const statistics = await readStatistics(arrays, names.mean, names.covariance, path);
  const spatialStatistics = await readStatistics(arrays, names.spatialMean, names.spatialCovariance, path);
  const features = await readFeatures(arrays.get(featuresName), path);
  if (statistics && features && features.columns !== statistics.mean.length)
    throw new ShapeError(
      `${path}: "${names.mean}" has ${statistics.mean.length} numbers, but "${featuresName}" has rows of ${features.columns}`,
    );
  return {
    name: path,
    ...(statistics ? { statistics: features ? { ...statistics, count: features.rows } : statistics } : {}),
    ...(spatialStatistics ? { spatialStatistics } : {}),
    ...(features ? { features } : {}),
  };
}

/** The images of an archive, uint8 [count, height, width, 3]; undefined if it has none. @throws ShapeError for others */
export function imagesOf(arrays: ReadonlyMap<string, NpzArray>, path: string): NpzArray | undefined {
  const array = arrays.get(imagesName);
  if (!array) return undefined;
  const { shape, type } = array;
  if (type !== 'u1' || shape.length !== 4 || (shape[3] !== 3 && shape[3] !== 1) || sizeOf(shape) === 0)
    throw new ShapeError(
      `${path}: "${imagesName}" must be images, uint8 (count, height, width, 3), got ${type} (${shape.join(', ')})`,
    );
  return array;
}

async function readStatistics(
  arrays: ReadonlyMap<string, NpzArray>,
  meanName: string,
  covarianceName: string,
  path: string,
): Promise<FeatureStatistics | undefined> {
  const [mean, covariance] = [arrays.get(meanName), arrays.get(covarianceName)];
  if (!mean && !covariance) return undefined;
  if (!mean || !covariance)
    throw new OptionError(
      `${path}: has "${mean ? meanName : covarianceName}" but no "${mean ? covarianceName : meanName}"`,
    );
  const length = mean.shape[0] ?? 0;
  if (mean.shape.length !== 1 || length < 1 || covariance.shape.join() !== [length, length].join())
    throw new ShapeError(
      `${path}: "${meanName}" and "${covarianceName}" must be (D) and (D, D), got (${mean.shape.join(', ')}) and (${covariance.shape.join(', ')})`,
    );
  const read = { mean: await mean.numbers(), covariance: await covariance.numbers() };
  for (const [name, values] of [
    [meanName, read.mean],
    [covarianceName, read.covariance],
  ] as const)
    if (!values.every(Number.isFinite)) throw new NonFiniteError(`${path}: "${name}" has numbers that are not finite`);
  let largest = 0;
  for (let d = 0; d < length; d++) {
    const variance = read.covariance[d * (length + 1)]!;
    if (variance < 0)
      throw new OptionError(`${path}: "${covarianceName}" has a negative variance, ${variance} at ${d}`);
    largest = Math.max(largest, variance);
  }
  for (let d = 0; d < length; d++)
    for (let e = 0; e < d; e++)
      if (Math.abs(read.covariance[d * length + e]! - read.covariance[e * length + d]!) > symmetryTolerance * largest)
        throw new OptionError(`${path}: "${covarianceName}" is not symmetric at ${d}, ${e}; it is no covariance`);
  return read;
}

async function readFeatures(array: NpzArray | undefined, path: string): Promise<Matrix | undefined> {
  if (!array) return undefined;
  const { shape } = array;
  const [rowCount, width] = [shape[0]!, shape[1]!];
  if (shape.length !== 2 || rowCount < 1 || width < 1 || array.type !== 'f4')
    throw new ShapeError(
      `${path}: "${featuresName}" must be float32 (count, D), got ${array.type} (${array.shape.join(', ')})`,
    );
  const data = new Float32Array(rowCount * width);
  const bytes = new Uint8Array(data.buffer);
  let at = 0;
  for await (const rows of array.rows(1024)) {
    bytes.set(rows, at);
    at += rows.length;
  }
  const wrong = data.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new NonFiniteError(
      `${path}: "${featuresName}" has the value ${data[wrong]} in row ${Math.floor(wrong / width)}`,
    );
  return matrix(data, width);
}

/** A file of an archive. */
export interface NpzEntry {
  readonly name: string;
  /** Its bytes, one part after the other; borrowed. */
  readonly parts: readonly Uint8Array[];
}

/** The files of an archive that `readFeatureReference`, pytorch-fid, clean-fid and ADM's evaluation read. */
export function featureReferenceEntries(reference: Omit<FeatureReference, 'name'>): NpzEntry[] {
  const { statistics, spatialStatistics, features } = reference;
  const bytesOf = ({ buffer, byteOffset, byteLength }: Float64Array | Float32Array) =>
    new Uint8Array(buffer, byteOffset, byteLength);
  const entry = (name: string, shape: readonly number[], data: Float64Array | Float32Array): NpzEntry => ({
    name: `${name}.npy`,
    parts: [npyHeader(data instanceof Float64Array ? '<f8' : '<f4', shape), bytesOf(data)],
  });
  const pair = (mean: string, covariance: string, given: FeatureStatistics | undefined): NpzEntry[] =>
    given
      ? [
          entry(mean, [given.mean.length], given.mean),
          entry(covariance, [given.mean.length, given.mean.length], given.covariance),
        ]
      : [];
  return [
    ...pair(names.mean, names.covariance, statistics),
    ...pair(names.spatialMean, names.spatialCovariance, spatialStatistics),
    ...(features ? [entry(featuresName, [features.rows, features.columns], features.data)] : []),
  ];
}
