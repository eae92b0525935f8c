/** A child process that answers JSON lines: one request, one answer. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/**
 * Starts a child.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @param {NodeJS.ProcessEnv} [env]
 */
export function startChild(command, args, env = process.env) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
  const waiting = [];
  const fail = (error) => waiting.splice(0).forEach(({ reject }) => reject(error));
  child.on('error', fail);
  child.on('exit', (code, signal) => fail(new Error(`${command} ended with ${signal ?? code}`)));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const next = waiting.shift();
    const answer = JSON.parse(line);
    if (answer.error) next?.reject(new Error(answer.error));
    else next?.resolve(answer);
  });
  return {
    /** @returns {Promise<any>} */
    ask: (request) =>
      new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify(request)}\n`);
      }),
    close: () =>
      new Promise((resolve) => {
        child.removeAllListeners('exit');
        child.on('exit', resolve);
        child.stdin.end();
      }),
  };
}

/** Serves requests from stdin with `handlers[command]`. */
export async function serve(handlers) {
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = (await handlers[request.command](request)) ?? {};
    } catch (error) {
      answer = { error: error.stack ?? String(error) };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
