/**
 * `npm run demo`: set-up and build where they are needed, then `dimo demo` in this folder. Everything after `--` goes to
 * it: `npm run demo -- --quick`. Node's own modules only: it runs before anything is installed.
 */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { build, install, root } from './set-up.mjs';

install();
build();
console.log('\n> dimo demo', ...process.argv.slice(2));
const main = path.join(root, 'packages', 'cli', 'dist', 'main.js');
const demo = spawn(process.execPath, [main, 'demo', ...process.argv.slice(2)], { stdio: 'inherit' });
// A terminal sends Ctrl-C to both; the demo saves and ends, then so does this.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.on(signal, () => {
    if (signal !== 'SIGINT') demo.kill(signal);
  });
demo.on('exit', (code, signal) => {
  process.exitCode = code ?? (signal === 'SIGINT' ? 130 : 143);
});
