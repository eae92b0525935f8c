/** Flags and help of `dimo serve`; its work is imported when it runs. */
import type { Command } from 'commander';
import { allOptions, configured, examples, text, type ProgramResult } from '../flags/command.js';
import { collect, typedSettings } from '../flags/flags.js';

/** Adds `dimo serve`. */
export function addServe(parent: Command, result: ProgramResult): void {
  configured(parent, 'serve', 'serve')
    .description('Serve the page, and models over HTTP: POST /v1/images, GET /v1/models.')
    .option('--model <name|folder>', 'a generator, or a teacher; may be repeated (default: mnist)', collect, [])
    .option('--host <address>', 'address to listen on; others than this machine need a token (default: 127.0.0.1)')
    .option('--port <n>', 'port, 0 for any free one (default: 7860)')
    .option('--allow-host <name>', 'a further name that the Host header may hold; may be repeated', collect, [])
    .option('--token <text>', 'what clients must send as Authorization: Bearer <text>; better set DIMO_TOKEN')
    .option('--page <folder>', 'static files to serve beside the API (default: the page that comes with dimo)')
    .option('--json', 'print the address and the models as one line of JSON, once they are served')
    .option('-q, --quiet', 'print no line per request')
    .addHelpText(
      'after',
      examples([
        'dimo serve --model mnist',
        'dimo serve --model models/one-step --port 8000',
        `curl http://127.0.0.1:7860/v1/images -H 'content-type: application/json' -d '{"classes": [3, 7], "seed": 1}'`,
        'DIMO_TOKEN=$(openssl rand -hex 16) dimo serve --host 0.0.0.0 --allow-host my-machine.local',
      ]),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { serve } = await import('./serve.js');
      const flags = allOptions(command, options);
      result.exitCode = await serve({
        typed: typedSettings('serve', flags),
        models: flags['model'] as string[],
        host: text(flags['host']),
        port: text(flags['port']),
        allowedHosts: flags['allowHost'] as string[],
        token: text(flags['token']),
        page: text(flags['page']),
        json: flags['json'] === true,
        quiet: flags['quiet'] === true,
      });
    });
}
