/**
 * `npm run playground`: set-up and build where they are needed, then `dimo serve`, which prints the address of the page.
 * Everything after `--` goes to it: `npm run playground -- --port 8000`. Node's own modules only: it runs before anything
 * is installed.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { build, install, root } from './set-up.mjs';

install();
build();
console.log('\n> dimo serve', ...process.argv.slice(2));
const main = path.join(root, 'packages', 'cli', 'dist', 'main.js');
const server = spawn(process.execPath, [main, 'serve', ...process.argv.slice(2)], { stdio: 'inherit' });
// A terminal sends Ctrl-C to both; the server finishes what it computes and ends, then so does this.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (signal !== 'SIGINT') server.kill(signal);
  });
server.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
});
