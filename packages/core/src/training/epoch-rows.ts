/** Which images or sequences the samples of a run are. */
import { requireInteger } from '../options/check-options.js';
import { randomStream } from '../random/random.js';

/**
 * Epoch after epoch, each in a random order of its own that depends on (seed, epoch, stream) alone: sample n of the run is
 * the datum at place n modulo `count` of epoch floor(n / count). So all data are used equally often, whatever the batch.
 *
 * @param count - of the data, >= 1.
 * @param stream - what the order is for: `teacher/epoch`.
 * @returns the rows of samples, given the number of the first one and how many. It keeps the latest order, because making
 *   one takes milliseconds.
 * @throws OptionError for a count or number that is none.
 */
export function epochRows(
  count: number,
  seed: number,
  stream: string,
): (first: number, numSamples: number) => Int32Array<ArrayBuffer> {
  requireInteger(count, `${stream}: the number of data`);
  let latest = { epoch: -1, order: new Int32Array() };
  const orderOf = (epoch: number): Int32Array => {
    if (latest.epoch !== epoch) latest = { epoch, order: randomStream(seed, epoch, stream).permutation(count) };
    return latest.order;
  };
  return (first, numSamples) => {
    requireInteger(first, `${stream}: the number of a sample`, 0, undefined, 2 ** 32 - 1);
    return Int32Array.from(
      { length: requireInteger(numSamples, `${stream}: the number of samples`, 0) },
      (_, i) => orderOf(Math.floor((first + i) / count))[(first + i) % count]!,
    );
  };
}
