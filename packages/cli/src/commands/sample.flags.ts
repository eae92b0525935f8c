/** Flags and help of `dimo sample`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, text, type ProgramResult } from '../flags/command.js';
import { typedSettings } from '../flags/flags.js';

/** Adds `dimo sample`. */
export function addSample(parent: Command, result: ProgramResult): void {
  configured(parent, 'sample', 'sample')
    .description('Generate samples with a one-step generator, or with a teacher in several steps.')
    .argument('[prompts...]', 'what to generate: prompts or classes, one sample each unless --count says more')
    .option('--model <name|folder>', 'a generator: mnist, or a folder written by dimo distill or dimo import')
    .option('--init-image <file>', 'PNG to begin with: its tokens are kept, but for those that are drawn anew')
    .option('--mask <file>', 'PNG of the same size, white where --init-image is drawn anew')
    .option('--strength <s>', 'part of the tokens that is drawn anew, in (0, 1] (default: 0.5, with --mask 1)')
    .option('--no-composite', 'with --mask: the pixels outside of it are decoded too, not those of the image')
    .option('-o, --out <file>', 'PNG grid (default: samples.png); for sequences a .json or .txt file')
    .option('--images <folder>', 'also write every image as a PNG')
    .option('--tokens <file>', 'also write the tokens as JSON')
    .option('--columns <n>', 'columns of the grid')
    .option('--json', 'print what was written as JSON')
    .option('-q, --quiet', 'print nothing')
    .addHelpText(
      'after',
      examples([
        'dimo sample --model mnist --classes 0-9 --count 64 --seed 1 --out grid.png',
        'dimo sample --model runs/mnist-one-step/generator --classes 3 --count 16 --out threes.png',
        'dimo sample --teacher mnist --steps 16 --count 64 --out teacher.png',
        'dimo sample "a red ball" --teacher models/meissonic --negative-prompt "blurry, low quality" --out ball.png',
        'dimo sample "a red ball" --teacher models/meissonic --init-image photo.png --mask mask.png --out edited.png',
        'dimo sample "a red ball on a blue cube" "a boat in a cup" --model models/one-step --out pictures.png',
      ]),
    )
    .action(async (prompts: string[], options: Record<string, unknown>, command: Command) => {
      const { sample } = await import('./sample.js');
      const flags = allOptions(command, options);
      result.exitCode = await sample({
        typed: typedSettings('sample', flags),
        teacherGiven: flags['teacher'] !== undefined || flags['teacherPlugin'] !== undefined,
        prompts,
        model: text(flags['model']),
        initImage: text(flags['initImage']),
        mask: text(flags['mask']),
        strength: text(flags['strength']),
        composite: flags['composite'] !== false,
        out: text(flags['out']),
        images: text(flags['images']),
        tokens: text(flags['tokens']),
        columns: text(flags['columns']),
        quiet: flags['quiet'] === true,
        json: flags['json'] === true,
      });
    });
}
