/**
 * Signals while training. A handler only asks the loop to stop; the save happens at the step boundary. A second SIGINT
 * within five seconds ends the process at once, which harms nothing: checkpoints are complete or absent.
 */
import { printError } from '../output/terminal.js';

/** Signals that mean "save and stop". SIGUSR1 is what batch systems send before the time is up. */
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const;
const secondWithinMilliseconds = 5000;

/** Stop requests of this process. */
export interface StopRequests {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Name of the signal that came. */
  readonly received: () => string | undefined;
  /** Gives the signals back to the system. */
  dispose(): void;
}

/**
 * Starts to listen.
 *
 * @param now - a monotonic clock in milliseconds.
 * @param endNow - ends the process with an exit code.
 * @param say - shows a line, without disturbing a bar of progress.
 */
export function listenForStop(
  now: () => number = () => performance.now(),
  endNow: (code: number) => void = (code) => process.exit(code),
  say: (line: string) => void = printError,
): StopRequests {
  const controller = new AbortController();
  let first: { readonly name: string; readonly at: number } | undefined;
  const onSignal = (name: NodeJS.Signals): void => {
    const at = now();
    if (first && name === 'SIGINT' && at - first.at <= secondWithinMilliseconds) {
      endNow(130);
      return;
    }
    first = { name, at };
    say(`${name}: saving after this step, then stopping${name === 'SIGINT' ? ' (again to end at once)' : ''}`);
    controller.abort();
  };
  for (const name of stopSignals) process.on(name, onSignal);
  return {
    signal: controller.signal,
    received: () => first?.name,
    dispose() {
      for (const name of stopSignals) process.off(name, onSignal);
    },
  };
}
