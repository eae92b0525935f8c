/**
 * Runs many command lines in one process, because starting one costs seconds. Reads a JSON list of argument lists from
 * standard input and writes, for each, a line with its exit code and what it printed.
 */
import { run } from '@dimo/cli';
import { text } from 'node:stream/consumers';

const write = { stdout: process.stdout.write.bind(process.stdout), stderr: process.stderr.write.bind(process.stderr) };

for (const argv of JSON.parse(await text(process.stdin))) {
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'])
    process[name].write = (chunk, ...rest) => {
      printed[name] += chunk;
      rest.find((argument) => typeof argument === 'function')?.();
      return true;
    };
  const code = await run(argv);
  Object.assign(process.stdout, { write: write.stdout });
  Object.assign(process.stderr, { write: write.stderr });
  write.stdout(`${JSON.stringify({ code, ...printed })}\n`);
}
process.exit(0);
