/** `dimo watch`: a page of a run that keeps up with it, from the files of the run alone. */
import { OptionError } from '@dimo/core';
import { dirname, resolve } from 'node:path';
import { exitOk } from '../output/failure.js';
import { print, printError } from '../output/terminal.js';
import { isRunFolder } from '../run/parts.js';
import { readPort } from '../serve/listen.js';
import { startServer } from '../serve/server.js';
import { stopSignal } from '../serve/stop-signal.js';
import { livePage } from '../watch/live-page.js';

/** Arguments of `watch`. */
export interface WatchArguments {
  /** Folder of a run. */
  readonly run: string;
  readonly port: string | undefined;
  readonly json: boolean;
}

/** Serves the page to this machine until the process is told to stop. */
export async function watch({ run: named, port, json }: WatchArguments): Promise<number> {
  // The folder of what a run makes stands for the run.
  const run = [named, dirname(resolve(named))].find((folder) => isRunFolder(folder));
  if (run === undefined)
    throw new OptionError(`${named} is not the folder of a run`, {
      path: named,
      hint: '`dimo runs` lists those that there are',
    });
  const server = await startServer({ models: [], port: readPort(port ?? '0'), page: livePage(run) });
  if (json) print(JSON.stringify({ address: server.address }));
  else print(`${run} on ${server.address}/`);
  await stopSignal(() => printError('the page ends; the run does not'));
  await server.close();
  return exitOk;
}
