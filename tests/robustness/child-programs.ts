/** Programs that tests start as processes of their own: bundled from `children/*.ts`, so that they start fast. */
import { buildSync } from 'esbuild';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const cache = new URL('../../node_modules/.cache/dimo/children/', import.meta.url);

/** Bundles `children/<name>.ts` with the workspace's sources; returns the path of the program. */
export function buildChild(name: string): string {
  mkdirSync(cache, { recursive: true });
  const empty = fileURLToPath(new URL('empty.mjs', cache));
  writeFileSync(empty, '');
  const program = fileURLToPath(new URL(`${name}.mjs`, cache));
  const outfile = `${program}-${process.pid}`;
  buildSync({
    entryPoints: [fileURLToPath(new URL(`children/${name}.ts`, import.meta.url))],
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    conditions: ['@dimo/source'],
    // Storage needs no tensor library: leaving out its gradient registrations lets the bundler leave out all of it.
    alias: { '@tensorflow/tfjs-core/dist/register_all_gradients.js': empty },
    external: ['onnxruntime-node', 'webgpu', '@tensorflow/*'],
    outfile,
    logLevel: 'error',
  });
  renameSync(outfile, program);
  return program;
}

/** A running child program and the lines that it has printed so far. */
export interface RunningChild {
  readonly process: ChildProcess;
  readonly lines: string[];
  /** Settles when the next line arrives or the process ends. */
  nextLine(): Promise<void>;
  /** Exit code, or the signal that ended it; all lines have arrived. */
  readonly ended: Promise<number | NodeJS.Signals>;
}

/** Starts a program. What it writes to stderr is shown. */
export function startChild(
  program: string,
  args: readonly string[],
  nodeOptions: readonly string[] = [],
  env: NodeJS.ProcessEnv = process.env,
): RunningChild {
  const child = spawn(process.execPath, [...nodeOptions, program, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env,
  });
  const lines: string[] = [];
  let wake: (() => void)[] = [];
  const notify = (): void => {
    for (const resolve of wake) resolve();
    wake = [];
  };
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    notify();
  });
  const ended = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      notify();
      resolve(code ?? signal ?? -1);
    });
  });
  return { process: child, lines, ended, nextLine: () => new Promise((resolve) => wake.push(resolve)) };
}
