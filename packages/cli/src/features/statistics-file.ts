/** Reference statistics as files: written so that pytorch-fid, clean-fid and ADM's evaluation read them too. */
import { openFileChecked, withIoError } from '@dimo/backend-node';
import {
  featureReferenceEntries,
  featureStatistics,
  imagesOf,
  readFeatureReference,
  readNpz,
  type FeatureReference,
  type NetworkFeatures,
} from '@dimo/eval';
import { stat } from 'node:fs/promises';
import { writeStoredZip } from '../run/stored-zip.js';
import { extractPictures, type ExtractContext } from './extract.js';
import { openPictures } from './pictures.js';

/** Statistics of features, and the features themselves where they are kept. */
export function referenceOf(name: string, extracted: NetworkFeatures, keepsFeatures: boolean): FeatureReference {
  return {
    name,
    statistics: featureStatistics(extracted.features),
    ...(extracted.spatial ? { spatialStatistics: featureStatistics(extracted.spatial) } : {}),
    ...(keepsFeatures ? { features: extracted.features } : {}),
  };
}

/** Writes an archive; it is there whole or not at all. */
export async function writeReferenceFile(path: string, reference: FeatureReference): Promise<void> {
  await writeStoredZip(path, featureReferenceEntries(reference));
}

/** What a reference has to have. */
export interface ReferenceNeeds {
  /** Features of single images, where they can be had. */
  readonly features: boolean;
}

/**
 * The reference that a command names: a folder of pictures, or an archive with statistics, features or images. What an
 * archive of images does not hold is computed from them.
 *
 * @throws OptionError if there is nothing to compare with; WeightError if the archive is damaged.
 */
export async function loadFeatureReference(
  path: string,
  needs: ReferenceNeeds,
  context: ExtractContext,
): Promise<FeatureReference> {
  if ((await withIoError('read', path, () => stat(path))).isDirectory())
    return referenceOf(path, await extracted(path, context), true);
  const { reference, hasImages } = await readReferenceFile(path);
  const isMissing = !reference.statistics || (needs.features && !reference.features);
  if (!hasImages || !isMissing) return reference;
  const computed = referenceOf(path, await extracted(path, context, reference), true);
  // What the file says goes before what can be computed: papers compare with the former.
  return { ...computed, ...reference, name: path };
}

async function readReferenceFile(path: string): Promise<{ reference: FeatureReference; hasImages: boolean }> {
  const file = await openFileChecked(path);
  try {
    const arrays = await readNpz(file, path);
    return { reference: await readFeatureReference(arrays, path), hasImages: imagesOf(arrays, path) !== undefined };
  } finally {
    await file.close();
  }
}

async function extracted(path: string, context: ExtractContext, expected?: FeatureReference): Promise<NetworkFeatures> {
  const pictures = await openPictures(path);
  try {
    return await extractPictures(pictures, context, expected);
  } finally {
    await pictures.dispose();
  }
}
