/** One job after another, a bounded number of them waiting. */
import { HttpProblem } from './limits.js';

/** Runs jobs in the order of their arrival. */
export interface JobQueue {
  /**
   * Runs a job when all before it are done.
   *
   * @param signal - given before its turn, the job never runs.
   * @throws HttpProblem 429 if too many are waiting.
   */
  run<T>(signal: AbortSignal, job: () => Promise<T>): Promise<T>;
  /** Jobs that wait. */
  readonly waiting: () => number;
  /** Settles when no job runs or waits. */
  idle(): Promise<void>;
}

const goneProblem = (): HttpProblem => new HttpProblem(499, 'the client went away');

/** Makes an empty queue. */
export function createJobQueue(maximumWaiting: number): JobQueue {
  const waiting: (() => void)[] = [];
  let isBusy = false;
  let idle: (() => void)[] = [];

  function next(): void {
    const start = waiting.shift();
    if (start) return start();
    isBusy = false;
    for (const resolve of idle) resolve();
    idle = [];
  }

  return {
    waiting: () => waiting.length,
    idle: () => (isBusy ? new Promise((resolve) => idle.push(resolve)) : Promise.resolve()),
    async run(signal, job) {
      if (signal.aborted) throw goneProblem();
      if (isBusy) {
        if (waiting.length >= maximumWaiting)
          throw new HttpProblem(429, `${waiting.length} requests are waiting already`, {
            headers: { 'retry-after': '1' },
          });
        await new Promise<void>((resolve, reject) => {
          waiting.push(resolve);
          signal.addEventListener('abort', () => {
            const at = waiting.indexOf(resolve);
            if (at < 0) return;
            waiting.splice(at, 1);
            reject(goneProblem());
          });
        });
      }
      isBusy = true;
      try {
        return await job();
      } finally {
        next();
      }
    },
  };
}
