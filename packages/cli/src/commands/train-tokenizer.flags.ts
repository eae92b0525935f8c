/** Flags and help of `dimo train tokenizer`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, type ProgramResult } from '../flags/command.js';
import { trainingFlags, trainingOptions } from '../flags/training-flags.js';

/** Adds `dimo train tokenizer`. */
export function addTrainTokenizer(parent: Command, result: ProgramResult): void {
  trainingOptions(configured(parent, 'tokenizer', 'train tokenizer'))
    .description('Train an image tokenizer (images to tokens and back) on a dataset.')
    .addHelpText(
      'after',
      examples(['dimo train tokenizer --dataset mnist', 'dimo train tokenizer --dataset fashion-mnist --name fashion']),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { trainTokenizer } = await import('./train-tokenizer.js');
      result.exitCode = await trainTokenizer(trainingFlags('train tokenizer', allOptions(command, options)));
    });
}
