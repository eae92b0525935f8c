/** Runs the command line in a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { dimoProgram } from './dimo-program.js';

const counter = new URL('./import-counter.mjs', import.meta.url).href;

/** How a process is started. */
export interface RunDimoOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Prints `IMPORTED <url>` to stderr for every module outside this repository. */
  readonly importCounter?: boolean;
}

/** What it printed, and how it ended. */
export interface DimoResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running command. */
export interface RunningDimo {
  readonly process: ChildProcess;
  /** What it has printed so far. */
  readonly output: () => { stdout: string; stderr: string };
  readonly ended: Promise<DimoResult>;
  /** Settles when stderr or stdout holds the text, or the process has ended. */
  printed(text: string): Promise<void>;
}

/** The program and the arguments of a command. */
export function dimoCommand(args: readonly string[], importCounter = false): [string, ...string[]] {
  return [process.execPath, ...(importCounter ? ['--import', counter] : []), ...dimoProgram, ...args];
}

/** Starts a command. */
export function startDimo(args: readonly string[], options: RunDimoOptions = {}): RunningDimo {
  const [program, ...command] = dimoCommand(args, options.importCounter);
  const child = spawn(program, command, {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: '1', ...options.env },
  });
  const output = { stdout: '', stderr: '' };
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    for (const resolve of waiting) resolve();
    waiting = [];
  };
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      output[name] += chunk;
      wake();
    });
  let hasEnded = false;
  const ended = new Promise<DimoResult>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      hasEnded = true;
      wake();
      resolve({ code, signal, ...output });
    });
  });
  return {
    process: child,
    output: () => ({ ...output }),
    ended,
    async printed(text) {
      while (!hasEnded && !output.stderr.includes(text) && !output.stdout.includes(text))
        await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
}

/** Runs a command to its end. */
export function runDimo(args: readonly string[], options?: RunDimoOptions): Promise<DimoResult> {
  return startDimo(args, options).ended;
}
