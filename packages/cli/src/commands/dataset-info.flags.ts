/** Flags and help of `dimo dataset info`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, text, type ProgramResult } from '../flags/command.js';
import { typedSettings } from '../flags/flags.js';

/** Adds `dimo dataset info`. */
export function addDatasetInfo(parent: Command, result: ProgramResult): void {
  configured(parent, 'info', 'dataset info')
    .description(
      'Describe a dataset of images: classes, sizes, what is refused, what is trained on it; with a picture.',
    )
    .argument('[name|folder]', 'a dataset by name, or a folder of pictures (default: that of the configuration)')
    .option('-o, --out <file>', 'PNG grid with pictures by class (default: contact-sheet.png)')
    .option('--json', 'print as JSON')
    .option('-q, --quiet', 'print only the result')
    .addHelpText(
      'after',
      examples([
        'dimo dataset info ./pictures',
        'dimo dataset info ./pictures --set pictures.size=32 --out pictures-32.png',
        'dimo dataset info mnist',
      ]),
    )
    .action(async (dataset: string | undefined, options: Record<string, unknown>, command: Command) => {
      const { datasetInfo } = await import('./dataset-info.js');
      const flags = allOptions(command, options);
      const typed = typedSettings('dataset info', flags);
      const settings =
        dataset === undefined
          ? typed.settings
          : [...typed.settings, { path: 'dataset', text: dataset, where: `dimo dataset info ${dataset}` }];
      result.exitCode = await datasetInfo({
        typed: { ...typed, settings },
        out: text(flags['out']),
        quiet: flags['quiet'] === true,
        json: flags['json'] === true,
      });
    });
}
