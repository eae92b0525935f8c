/** Flags and help of `dimo eval`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, text, type ProgramResult } from '../flags/command.js';
import { collect, typedSettings } from '../flags/flags.js';

/** Adds `dimo eval`. */
export function addEval(parent: Command, result: ProgramResult): void {
  const teacherOptions = new Set<string>();
  configured(parent, 'eval', 'eval')
    .description('Measure a teacher at several steps and generators at one: FID, IS, precision, recall and more.')
    .option('--model <name|folder>', 'a generator to measure; may be repeated', collect, [])
    .option('-o, --out <file>', 'JSON file with the numbers (default: eval.json in the run of the generator)')
    .option('--no-teacher', 'measure the generators only')
    .on('option:teacher', () => teacherOptions.add('--teacher'))
    .on('option:no-teacher', () => teacherOptions.add('--no-teacher'))
    .option('--json', 'print the numbers as JSON')
    .option('-q, --quiet', 'print only the table')
    .addHelpText(
      'after',
      examples([
        'dimo eval --teacher mnist --model runs/mnist-one-step/generator --count 5000',
        'dimo eval --model mnist --no-teacher --seeds [0,1,2] --out eval.json',
      ]),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { evaluate } = await import('./eval.js');
      const flags = allOptions(command, options);
      result.exitCode = await evaluate({
        typed: typedSettings('eval', { ...flags, teacher: text(flags['teacher']) }),
        models: flags['model'] as string[],
        out: text(flags['out']),
        withTeacher: flags['teacher'] !== false,
        teacherIsContradicted: teacherOptions.size > 1,
        quiet: flags['quiet'] === true,
        json: flags['json'] === true,
      });
    });
}
