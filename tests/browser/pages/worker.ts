/** Runs the functions of engines.ts in a worker: `{ name, args }` comes in, `{ value }` or `{ error }` goes out. */
import * as functions from './engines.js';

addEventListener('message', ({ data }: MessageEvent<{ name: keyof typeof functions; args: unknown[] }>) => {
  const call = functions[data.name] as (...args: unknown[]) => Promise<unknown>;
  call(...data.args).then(
    (value) => postMessage({ value }),
    (error: Error) => postMessage({ error: error.stack ?? error.message }),
  );
});
