/** Work that Ctrl-C ends at once, but tidily. */
import { DimoError } from '@dimo/core';
import { withExitCode } from '../output/failure.js';

/**
 * Runs `work` with a signal that Ctrl-C gives, so that the terminal is left tidy and the reader knows what is kept. A second
 * Ctrl-C ends the process.
 *
 * @throws what `work` throws; once it was stopped, with the exit code of the signal.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let code = 130;
  const stop = (signal: NodeJS.Signals): void => {
    code = signal === 'SIGTERM' ? 143 : 130;
    controller.abort();
  };
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted) throw error;
    const isAbort = error instanceof Error && error.name === 'AbortError';
    throw withExitCode(isAbort ? new DimoError('cancelled', 'stopped on request', { cause: error }) : error, code);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
  }
}
