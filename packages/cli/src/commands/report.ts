/** `dimo report`: one HTML file about a run. */
import { exitOk } from '../failure.js';
import { writeReport } from '../report.js';
import { print } from '../terminal.js';

/** Arguments of `report`. */
export interface ReportArguments {
  /** Folder of a run. */
  readonly run: string;
  readonly out: string | undefined;
}

/** Writes the report and prints its path. */
export async function report({ run, out }: ReportArguments): Promise<number> {
  print(await (out === undefined ? writeReport(run) : writeReport(run, out)));
  return exitOk;
}
