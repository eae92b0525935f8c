/** Flags and help of `dimo distill`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, type ProgramResult } from '../flags/command.js';
import { trainingFlags, trainingOptions } from '../flags/training-flags.js';

/** Adds `dimo distill`. */
export function addDistill(parent: Command, result: ProgramResult): void {
  trainingOptions(configured(parent, 'distill', 'distill'))
    .description('Distil a teacher into a one-step generator.')
    .addHelpText(
      'after',
      examples([
        'dimo distill --teacher mnist --steps 1000 --name mnist-one-step',
        'dimo distill --config dimo.config.yaml --set distill.averageDecay=0.999',
        'dimo distill --resume runs/mnist-one-step',
        'dimo distill --teacher runs/teacher --batch 16 --plan',
      ]),
    )
    .option('--plan', 'print what the run will need of memory and disk, and end')
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { distill } = await import('./distill.js');
      const flags = trainingFlags('distill', allOptions(command, options));
      result.exitCode = await distill({ ...flags, plan: options['plan'] === true });
    });
}
