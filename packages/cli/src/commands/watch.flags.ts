/** Flags and help of `dimo watch`; its work is imported when it runs. */
import type { Command } from 'commander';
import { examples, text, type ProgramResult } from '../flags/command.js';

/** Adds `dimo watch`. */
export function addWatch(parent: Command, result: ProgramResult): void {
  parent
    .command('watch')
    .description('Show a run while it goes on: a page with curves, samples, health and the time that is left.')
    .argument('<run>', 'folder of a run')
    .option('--port <n>', 'port on this machine, 0 for any free one (default: 0)')
    .option('--json', 'print the address as one line of JSON, once the page is served')
    .addHelpText('after', examples(['dimo watch runs/mnist-one-step', 'dimo watch runs/cats --port 6006']))
    .action(async (run: string, options: Record<string, unknown>) => {
      const { watch } = await import('./watch.js');
      result.exitCode = await watch({ run, port: text(options['port']), json: options['json'] === true });
    });
}
