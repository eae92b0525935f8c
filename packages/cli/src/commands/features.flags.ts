/** Flags and help of `dimo features`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, text, type ProgramResult } from '../flags/command.js';

/** Adds `dimo features`. */
export function addFeatures(parent: Command, result: ProgramResult): void {
  parent
    .command('features')
    .description('Write the statistics of pictures, by a feature network of an ONNX file, to compare others with.')
    .argument('<pictures>', 'folder of PNG, JPEG, WebP or GIF files, or a NumPy archive with images')
    .option('--features <file>', 'ONNX file of the feature network')
    .option('--network <name|file>', 'how images get into it: a known network, or a JSON file (default: beside it)')
    .option('-o, --out <file>', 'archive to write (.npz, as pytorch-fid and ADM have it)')
    .option('--count <n>', 'only the first so many pictures')
    .option('--batch <n>', 'pictures that are computed at once (default: 32)')
    .option('--threads <n>', 'threads of the network')
    .option('--keep-features', 'put the features themselves into the archive too, for precision and recall')
    .option('--work <folder>', 'where features are kept while they are computed (default: the cache folder)')
    .option('--json', 'print what was written as JSON')
    .option('-q, --quiet', 'print only the result')
    .addHelpText(
      'after',
      examples([
        'dimo features pictures --features inception.onnx --network inception-pytorch-fid --out pictures.npz',
        'dimo features pictures --features dinov2.onnx --network dinov2 --out pictures.npz --keep-features',
      ]),
    )
    .action(async (pictures: string, options: Record<string, unknown>) => {
      const { features } = await import('./features.js');
      result.exitCode = await features({
        pictures,
        features: text(options['features']),
        network: text(options['network']),
        out: text(options['out']),
        count: text(options['count']),
        batch: text(options['batch']),
        threads: text(options['threads']),
        keepsFeatures: options['keepFeatures'] === true,
        work: text(options['work']),
        quiet: options['quiet'] === true,
        json: options['json'] === true,
      });
    });
}
