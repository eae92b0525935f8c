/** `dimo runs`: the runs in a folder, with what they make and how far they are. */
import { DimoError, OptionError } from '@dimo/core';
import { existsSync } from 'node:fs';
import { exitOk } from '../output/failure.js';
import { cleanText, print, printError, printJson } from '../output/terminal.js';
import { formatNumber } from '../run/progress.js';
import { runsIn, summarizeRun, type RunSummary } from '../run/run-summary.js';

/** Arguments of `runs`. */
export interface RunsArguments {
  readonly folder: string;
  readonly json: boolean;
}

/** Metrics that say most, the first of them that a run has. */
const telling = ['generator/divergence', 'generator/loss', 'maskedNll', 'reconstruction', 'loss'];

/** Prints a table; runs that cannot be read are named below it. */
export async function runs({ folder, json }: RunsArguments): Promise<number> {
  if (!existsSync(folder))
    throw new OptionError(`there is no folder ${folder}`, {
      path: folder,
      hint: 'name the folder that runs are kept in, run.folder of the configuration',
    });
  const found: RunSummary[] = [];
  const unreadable: string[] = [];
  for (const path of await runsIn(folder)) {
    try {
      found.push(await summarizeRun(path));
    } catch (error) {
      if (!DimoError.isInstance(error)) throw error;
      unreadable.push(`${path}: ${error.message}`);
    }
  }
  found.sort((a, b) => (b.changed ?? 0) - (a.changed ?? 0));
  if (json) printJson({ runs: found, unreadable }, 2);
  else {
    if (found.length === 0) print(`no runs in ${cleanText(folder)}`);
    else print(tableOf([['run', 'command', 'state', 'steps', 'last', 'health'], ...found.map(rowOf)]));
    for (const line of unreadable) printError(`passed over ${line}`);
  }
  return exitOk;
}

function rowOf({ name, command, condition, step, numSteps, last, health }: RunSummary): string[] {
  const metric = telling.find((key) => typeof last?.[key] === 'number');
  return [
    cleanText(name),
    command ?? '-',
    condition,
    numSteps === undefined ? String(step) : `${step}/${numSteps}`,
    metric === undefined ? '-' : `${metric} ${formatNumber(last![metric]!)}`,
    health ?? '-',
  ];
}

function tableOf(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
