/** Flags and help of `dimo train teacher`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, type ProgramResult } from '../flags/command.js';
import { trainingFlags, trainingOptions } from '../flags/training-flags.js';

/** Adds `dimo train teacher`. */
export function addTrainTeacher(parent: Command, result: ProgramResult): void {
  trainingOptions(configured(parent, 'teacher', 'train teacher'))
    .description('Train a masked diffusion model on tokens: the teacher of a distillation.')
    .addHelpText(
      'after',
      examples([
        'dimo train teacher --dataset mnist --tokenizer runs/tokenizer/tokenizer',
        'dimo train teacher --plugin ./my-teacher.js --teacher-plugin my-model --dataset my-tokens --steps 500',
        'dimo train teacher --dataset my-tokens --init MaskGIT_ImageNet_256.pth --steps 1510000',
      ]),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { trainTeacher } = await import('./train-teacher.js');
      result.exitCode = await trainTeacher(trainingFlags('train teacher', allOptions(command, options)));
    });
}
