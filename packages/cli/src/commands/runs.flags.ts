/** Flags and help of `dimo runs`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, type ProgramResult } from '../flags/command.js';

/** Adds `dimo runs`. */
export function addRuns(parent: Command, result: ProgramResult): void {
  parent
    .command('runs')
    .description('List runs: what they make, how far they are, and how they went.')
    .argument('[folder]', 'folder that holds the runs', 'runs')
    .option('--json', 'print them as JSON')
    .addHelpText('after', examples(['dimo runs', 'dimo runs ~/experiments --json']))
    .action(async (folder: string, options: Record<string, unknown>) => {
      const { runs } = await import('./runs.js');
      result.exitCode = await runs({ folder, json: options['json'] === true });
    });
}
