/** Calls that end because their signal was given. */
import { DimoError } from '@dimo/core';

/** The error of those whose signal was given. */
export function cancelled(signal: AbortSignal | undefined): DimoError {
  return new DimoError('cancelled', 'stopped on request', { cause: signal?.reason });
}

/**
 * What a promise settles to, unless the signal is given before that. The work goes on for others.
 *
 * @throws DimoError with code `cancelled`
 */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  let stop = (): void => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(cancelled(signal));
    signal.addEventListener('abort', stop);
  });
  try {
    if (signal.aborted) stop();
    return await Promise.race([stopped, work]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
