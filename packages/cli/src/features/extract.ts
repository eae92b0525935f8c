/** Runs pictures through a feature network, into files that an interrupted run goes on with. */
import { DimoError } from '@dimo/core';
import { checkReference, type FeatureReference, type NetworkFeatures, type PixelBatch } from '@dimo/eval';
import { join } from 'node:path';
import { cacheFolder } from '../evaluation/content-cache.js';
import { interruptible } from '../run/interruptible.js';
import { createProgress } from '../run/progress.js';
import { featureKey, openFeatureStore } from './feature-store.js';
import type { OpenNetwork } from './open-network.js';
import type { PictureSource } from './pictures.js';

/** What all extractions of a command share. */
export interface ExtractContext {
  readonly open: OpenNetwork;
  /** Pictures that go through the network at once. */
  readonly batchSize: number;
  /** Folder for features. @default `features` in the cache folder */
  readonly work: string | undefined;
  readonly quiet: boolean;
  readonly everySeconds: number;
  readonly onNote: (line: string) => void;
}

/** Format of the files; another one gives other keys. */
const formatVersion = 1;

/**
 * The features of all pictures of a source; those that an earlier run has computed are taken from its files.
 *
 * @param expected - a reference that the features will be compared with: one of another width is refused at once.
 */
export async function extractPictures(
  source: PictureSource,
  context: ExtractContext,
  expected?: FeatureReference,
): Promise<NetworkFeatures> {
  const { open, batchSize, quiet, everySeconds, onNote } = context;
  const facts = [formatVersion, open.identity, source.identity];
  const folder = join(context.work ?? join(cacheFolder(), 'features'), featureKey(facts));
  const store = await openFeatureStore(folder, facts);
  try {
    const { count } = source;
    const first = Math.min(count, store.rows());
    if (first > 0) onNote(`features of ${first} of ${count} pictures of ${source.name} are there already (${folder})`);
    if (first < count)
      await interruptible(async (signal) => {
        const progress = createProgress({
          ...{ label: 'features', numSteps: count, firstStep: first, batchSize: 1, unit: 'images/s' },
          ...{ everySeconds, quiet },
        });
        try {
          for await (const images of source.pictures(first, batchSize)) {
            signal.throwIfAborted();
            const some = firstPictures(images, count - store.rows());
            const features = await runNamed(context, some, store.rows(), source);
            if (expected) checkReference(features, expected);
            await store.append(features);
            progress.update({ step: store.rows(), numbers: [] });
            if (store.rows() >= count) break;
            // Lets a signal in: the network does not leave the thread.
            await new Promise((resolve) => setImmediate(resolve));
          }
        } finally {
          progress.finish();
        }
      });
    const features = await store.read(count);
    if (expected) checkReference(features, expected);
    return features;
  } finally {
    await store.close();
  }
}

/** The first `count` of some pictures. */
function firstPictures(images: readonly PixelBatch[], count: number): PixelBatch[] {
  const some: PixelBatch[] = [];
  let left = count;
  for (const batch of images) {
    const taken = Math.min(left, batch.count);
    if (taken > 0)
      some.push({ ...batch, count: taken, data: batch.data.subarray(0, (batch.data.length / batch.count) * taken) });
    left -= taken;
  }
  return some;
}

/** Runs the network; a failure says which pictures it was about. */
async function runNamed(
  { open }: ExtractContext,
  images: Parameters<OpenNetwork['network']['run']>[0],
  first: number,
  source: PictureSource,
): Promise<NetworkFeatures> {
  try {
    return await open.network.run(images);
  } catch (error) {
    if (!DimoError.isInstance(error)) throw error;
    throw new DimoError(error.code, `${error.message} (pictures from ${first} on of ${source.name})`, {
      path: error.path,
      hint: error.hint,
      cause: error,
    });
  }
}
