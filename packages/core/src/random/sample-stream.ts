/** Random numbers of training: keyed by the sample, so that neither micro-steps nor ranks change what a sample draws. */
import { requireInteger } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import { randomStream, type RandomStream } from './random.js';

/**
 * The streams of consecutive samples as one. It gives the same amount of numbers to each sample, sample by sample: what
 * `uniform(count * n)` returns is, row by row, what the streams `(seed, first + row, name)` return for `uniform(n)`.
 *
 * @param seed - integer in [0, 2^53).
 * @param first - number of the first sample in the run, in [0, 2^32).
 * @param count - samples, >= 1.
 * @param name - what the numbers are for: `teacher/mask`.
 * @returns a stream whose methods throw an OptionError for an amount that is no multiple of `count`, and that has no
 *   `permutation`: an order of the samples would depend on all of them.
 */
export function sampleStream(seed: number, first: number, count: number, name: string): RandomStream {
  requireInteger(count, 'sampleStream: the number of samples', 1);
  randomStream(seed, first + count - 1, name);
  const streams = Array.from({ length: count }, (_, row) => randomStream(seed, first + row, name));
  const perSample = (amount: number): number => {
    requireInteger(amount, 'RandomStream: the number of numbers', 0);
    if (amount % count !== 0)
      throw new OptionError(
        `random numbers "${name}" of ${count} samples come in multiples of ${count}, ${amount} were asked for`,
        { hint: 'draw the same amount for every sample' },
      );
    return amount / count;
  };
  /** Rows behind one another. */
  function rows<T extends Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>>(
    all: T,
    draw: (stream: RandomStream, amount: number) => T,
  ): T {
    const amount = perSample(all.length);
    if (amount > 0) streams.forEach((stream, row) => all.set(draw(stream, amount), row * amount));
    return all;
  }
  return {
    key: { ...streams[0]!.key, rows: count },
    uniform: (amount) => rows(new Float32Array(checked(amount)), (stream, n) => stream.uniform(n)),
    normal: (amount) => rows(new Float32Array(checked(amount)), (stream, n) => stream.normal(n)),
    integers: (amount, below) => rows(new Int32Array(checked(amount)), (stream, n) => stream.integers(n, below)),
    permutation() {
      throw new OptionError(`random numbers "${name}" of ${count} samples have no permutation`, {
        hint: 'draw numbers for every sample instead',
      });
    },
    fork: (child) => sampleStream(seed, first, count, `${name}/${child}`),
  };
}

function checked(amount: number): number {
  return requireInteger(amount, 'RandomStream: the number of numbers', 0);
}
