/** Flags and help of `dimo import`; its work is imported when it runs. */
import { Option, type Command } from 'commander';
import { examples, text, type ProgramResult } from '../flags/command.js';
import { collect } from '../flags/flags.js';

/** Adds `dimo import`. */
export function addImport(parent: Command, result: ProgramResult): void {
  parent
    .command('import')
    .description('Make a model of a hub or a folder usable: fetch it into the shared cache, recognize its layout.')
    .argument('<model>', 'a folder, or hf:owner/repository[/folder][@revision]')
    .option('-o, --out <folder>', 'small folder that names the model (default: models/<name>)')
    .option(
      '--teacher <folder|hf:...>',
      'for a released generator: its teacher, whose decoder and text encoder it uses',
    )
    .addOption(
      new Option('--as <kind>', 'what it is, for weights that may be either').choices(['generator', 'teacher']),
    )
    .option(
      '--set <key=value>',
      'says what the files do not hold, such as transformer.heads=8; may be repeated',
      collect,
      [],
    )
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .option('--json', 'print what was imported as JSON')
    .option('-q, --quiet', 'print nothing')
    .addHelpText(
      'after',
      examples([
        'dimo import hf:meissonflow/meissonic',
        'dimo import hf:Yuanzhi/DiMO/meissonic --teacher models/meissonic --out models/one-step',
        'dimo import ~/downloads/maskgit --out models/imagenet',
        'dimo import ~/downloads/dimo-maskgit --teacher models/imagenet --out models/one-step',
        'dimo import ~/downloads/other --set transformer.heads=8 --out models/other',
        'HF_HUB_OFFLINE=1 dimo import hf:meissonflow/meissonic    # from the cache alone',
      ]),
    )
    .addHelpText(
      'after',
      `
Environment:
  HF_TOKEN          access to private and gated repositories; sent to the hub alone, never printed
  HF_HOME           holds the cache, shared with other tools (default: ~/.cache/huggingface)
  HF_ENDPOINT       another hub or a mirror
  HF_HUB_OFFLINE=1  no request is made
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  proxies
`,
    )
    .action(async (what: string, options: Record<string, unknown>) => {
      const { importModel } = await import('./import.js');
      result.exitCode = await importModel({
        what,
        out: text(options['out']),
        teacher: text(options['teacher']),
        as: options['as'] as 'generator' | 'teacher' | undefined,
        settings: options['set'] as string[],
        plugins: options['plugin'] as string[],
        quiet: options['quiet'] === true,
        json: options['json'] === true,
      });
    });
}
