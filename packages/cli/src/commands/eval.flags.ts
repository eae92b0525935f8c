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
    .option('--features <file>', 'ONNX file of a feature network whose features are compared')
    .option('--network <name|file>', 'how images get into it: a known network, or a JSON file (default: beside it)')
    .option('--reference <file|folder>', 'what is compared with: statistics (.npz) or pictures; with --features')
    .option('--images <folder|file>', 'pictures to measure; may be repeated; with --features', collect, [])
    .option('--feature-metrics <list>', 'fid, is, neighbors, sfid, cmmd, separated by commas (default: all there are)')
    .option('--captions <file>', 'captions of the pictures and prompts of the samples, one a line; with --features')
    .option('--text <file>', 'ONNX file of a text network, for the CLIP score; with --features')
    .option('--work <folder>', 'where features are kept (default: the cache folder); with --features')
    .option('--json', 'print the numbers as JSON')
    .option('-q, --quiet', 'print only the table')
    .addHelpText(
      'after',
      examples([
        'dimo eval --teacher mnist --model runs/mnist-one-step/generator --count 5000',
        'dimo eval --model mnist --no-teacher --seeds [0,1,2] --out eval.json',
        'dimo eval --model runs/imagenet/generator --count 50000 --features inception.onnx --network inception-adm --reference VIRTUAL_imagenet256_labeled.npz',
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
        byFeatures: {
          features: text(flags['features']),
          network: text(flags['network']),
          reference: text(flags['reference']),
          images: flags['images'] as string[],
          metrics:
            text(flags['featureMetrics'])
              ?.split(',')
              .map((name) => name.trim()) ?? [],
          captions: text(flags['captions']),
          text: text(flags['text']),
          work: text(flags['work']),
        },
      });
    });
}
