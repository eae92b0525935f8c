/** Flags and help of `dimo report`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, text, type ProgramResult } from '../flags/command.js';

/** Adds `dimo report`. */
export function addReport(parent: Command, result: ProgramResult): void {
  parent
    .command('report')
    .description('Write report.html of a run: table, sample grids, curves and settings in one file.')
    .argument('<run>', 'folder of a run')
    .option('-o, --out <file>', 'where to write it (default: report.html in the run)')
    .option('--json', 'print what was written as JSON')
    .addHelpText('after', examples(['dimo report runs/mnist-one-step', 'dimo report runs/demo --out demo.html']))
    .action(async (run: string, options: Record<string, unknown>) => {
      const { report } = await import('./report.js');
      result.exitCode = await report({ run, out: text(options['out']), json: options['json'] === true });
    });
}
