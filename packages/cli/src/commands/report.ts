/** `dimo report`: one HTML file about a run. */
import { exitOk } from '../output/failure.js';
import { dirname, resolve } from 'node:path';
import { writeReport } from '../evaluation/report.js';
import { isRunFolder } from '../run/parts.js';
import { print, printJson } from '../output/terminal.js';

/** Arguments of `report`. */
export interface ReportArguments {
  /** Folder of a run. */
  readonly run: string;
  readonly out: string | undefined;
  readonly json: boolean;
}

/** Writes the report and prints its path. */
export async function report({ run: named, out, json }: ReportArguments): Promise<number> {
  // The folder of what a run made stands for the run.
  const above = dirname(resolve(named));
  const run = !isRunFolder(named) && isRunFolder(above) ? above : named;
  const written = await (out === undefined ? writeReport(run) : writeReport(run, out));
  if (json) printJson({ written });
  else print(written);
  return exitOk;
}
