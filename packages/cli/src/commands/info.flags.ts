/** Flags and help of `dimo info`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, type ProgramResult } from '../flags/command.js';
import { collect, typedSettings } from '../flags/flags.js';

/** Adds `dimo info`. */
export function addInfo(parent: Command, result: ProgramResult): void {
  parent
    .command('info')
    .description('Describe the plugins, the configuration, a model, or a folder that dimo wrote.')
    .argument(
      '[what]',
      'plugins, samplers, algorithms, config, the name of a teacher, or a folder: run, teacher, tokenizer, generator, checkpoint, import, evaluation',
      'plugins',
    )
    .option('-c, --config <file>', 'configuration file instead of dimo.config.{yaml,json,ts}')
    .option('--set <key=value>', 'sets any key of the configuration; may be repeated', collect, [])
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .option('--json', 'print as JSON')
    .option('--no-bench', 'leave out the one-second measurement of the engine, and with it the times of the plan')
    .option('--allow-nonfinite', 'describe weights that hold NaN or infinity too')
    .addHelpText(
      'after',
      examples([
        'dimo info',
        'dimo info samplers',
        'dimo info algorithms',
        'dimo info mnist',
        'dimo info runs/demo/generator',
        'dimo info config',
      ]),
    )
    .action(async (what: string, options: Record<string, unknown>) => {
      const { info } = await import('./info.js');
      result.exitCode = await info({
        what,
        typed: typedSettings('demo', options),
        json: options['json'] === true,
        allowNonFinite: options['allowNonfinite'] === true,
        bench: options['bench'] !== false,
      });
    });
}
