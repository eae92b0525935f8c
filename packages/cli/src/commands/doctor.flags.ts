/** Flags and help of `dimo doctor`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, type ProgramResult } from '../flags/command.js';
import { collect } from '../flags/flags.js';

/** Adds `dimo doctor`. */
export function addDoctor(parent: Command, result: ProgramResult): void {
  parent
    .command('doctor')
    .description('Show every engine: available, or what is missing and the command that fixes it.')
    .option('--json', 'print as JSON')
    .option('--no-bench', 'leave out the one-second matmul rate')
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .addHelpText('after', examples(['dimo doctor', 'dimo doctor --json']))
    .action(async (options: Record<string, unknown>) => {
      const { doctor } = await import('./doctor.js');
      result.exitCode = await doctor({
        json: options['json'] === true,
        bench: options['bench'] !== false,
        plugins: options['plugin'] as string[],
      });
    });
}
