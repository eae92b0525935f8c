/** Flags and help of `dimo push`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, text, type ProgramResult } from '../flags/command.js';
import { collect } from '../flags/flags.js';

/** Adds `dimo push`. */
export function addPush(parent: Command, result: ProgramResult): void {
  parent
    .command('push')
    .description('Publish a model on a hub: what it lacks is sent, then one commit names all files.')
    .argument('<folder>', 'a run, or the folder of a generator or teacher')
    .argument('<repository>', 'hf:owner/repository[/folder][@branch]')
    .option('--create', 'make the repository if there is none')
    .option('--private', 'with --create: make a private one')
    .option('-m, --message <text>', 'message of the commit')
    .option('--dry-run', 'check the model and list what would be sent')
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .option('--json', 'print what was published as JSON')
    .option('-q, --quiet', 'print nothing')
    .addHelpText(
      'after',
      examples([
        'dimo push runs/mnist-one-step hf:me/mnist-one-step --dry-run',
        'dimo push runs/mnist-one-step hf:me/mnist-one-step --create --private',
        'dimo push runs/mnist-one-step/generator hf:me/models/mnist@main -m "20,000 steps"',
      ]),
    )
    .addHelpText(
      'after',
      `
Environment:
  HF_TOKEN                           a token that may write; sent to the hub alone, never printed
  HF_ENDPOINT                        another hub
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY  proxies
`,
    )
    .action(async (folder: string, repository: string, options: Record<string, unknown>) => {
      const { pushModel } = await import('./push.js');
      result.exitCode = await pushModel({
        folder,
        repository,
        create: options['create'] === true,
        isPrivate: options['private'] === true,
        message: text(options['message']),
        dryRun: options['dryRun'] === true,
        plugins: options['plugin'] as string[],
        quiet: options['quiet'] === true,
        json: options['json'] === true,
      });
    });
}
