/** Flags and help of `dimo demo`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, type ProgramResult } from '../flags/command.js';
import { trainingFlags } from '../flags/training-flags.js';

/** Adds `dimo demo`. */
export function addDemo(parent: Command, result: ProgramResult): void {
  configured(parent, 'demo', 'demo')
    .description('Distil the bundled MNIST teacher, evaluate teacher and generator, write a report with pictures.')
    .option('--quick', 'show the whole path in about a minute')
    .option('--strict-health', 'exit with 1 if the run ends with a destroyed generator')
    .option('--json', 'print the result as JSON')
    .option('-q, --quiet', 'print only the result')
    .addHelpText('after', examples(['dimo demo', 'dimo demo --quick', 'dimo demo --engine wasm --seed 1']))
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { demo } = await import('./demo.js');
      const flags = allOptions(command, options);
      result.exitCode = await demo({ ...trainingFlags('demo', flags), quick: flags['quick'] === true });
    });
}
