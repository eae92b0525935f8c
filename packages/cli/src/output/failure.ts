/**
 * From errors to exit codes and to the one paragraph that a person reads. This file is loaded with every command, so it
 * recognizes the errors of core by their mark instead of importing core.
 */
import { colors, printError } from './terminal.js';

/** Done, or saved and stopped on request. */
export const exitOk = 0;
/** Failed while running. */
export const exitFailed = 1;
/** Wrong usage, configuration or input. */
export const exitUsage = 2;
/** Another process has the folder; the same command may succeed later (EX_TEMPFAIL of sysexits.h). */
export const exitRetryable = 75;

/** Codes of `DimoError` that say the input was wrong, as opposed to something that broke. */
const inputCodes = new Set(['option', 'shape', 'weights', 'checkpoint', 'backend-unavailable', 'plugin', 'io']);

interface MarkedError {
  readonly code: string;
  readonly message: string;
  readonly path?: string;
  readonly hint?: string;
  readonly stack?: string;
}

const chosenCodes = new WeakMap<object, number>();

/**
 * The same error with an exit code of its own: a full disk is wrong input before training starts (2) and a failure
 * during it (1).
 */
export function withExitCode<E>(error: E, code: number): E {
  if (typeof error === 'object' && error !== null) chosenCodes.set(error, code);
  return error;
}

/** Exit code that an error stands for. */
export function exitCodeOf(error: unknown): number {
  const chosen = typeof error === 'object' && error !== null ? chosenCodes.get(error) : undefined;
  if (chosen !== undefined) return chosen;
  if (isMarked(error)) {
    if (error.code === 'locked') return exitRetryable;
    return inputCodes.has(error.code) ? exitUsage : exitFailed;
  }
  return systemErrorCode(error) === undefined ? exitFailed : exitUsage;
}

/** Prints what went wrong, where and what to do; with `debug` also the stacks of the error and its causes. */
export function printFailure(error: unknown, debug: boolean): void {
  for (const line of describeFailure(error)) printError(line);
  if (!debug) return;
  for (let current: unknown = error; current instanceof Error; current = current.cause)
    printError(`${current === error ? '' : 'caused by '}${current.stack ?? String(current)}`);
}

/** Characters of a line of a message; whoever types a million gets the beginning and the end of them back. */
const maximumLine = 2000;

/** The text with lines of bounded length. */
export function shortLines(text: string): string {
  const half = maximumLine / 2;
  return text
    .split('\n')
    .map((line) => (line.length > maximumLine ? `${line.slice(0, half)} … ${line.slice(-half)}` : line))
    .join('\n');
}

/** Lines of the message of `printFailure`. */
export function describeFailure(error: unknown): string[] {
  return linesOf(error).map(shortLines);
}

function linesOf(error: unknown): string[] {
  const { red, dim } = colors();
  if (isMarked(error)) {
    const where = error.path !== undefined && !error.message.includes(error.path) ? ` (${error.path})` : '';
    return [`${red('error:')} ${error.message}${where}`, ...(error.hint ? [`${dim('to fix:')} ${error.hint}`] : [])];
  }
  const message = error instanceof Error ? error.message : String(error);
  if (systemErrorCode(error) !== undefined) return [`${red('error:')} ${message}`];
  return [`${red('error:')} unexpected failure: ${message}`, `${dim('to fix:')} run again with --debug and report it`];
}

function isMarked(error: unknown): error is MarkedError {
  return (
    typeof error === 'object' && error !== null && (error as Record<symbol, unknown>)[Symbol.for('dimo.error')] === true
  );
}

/** `ENOENT`, `EACCES` and the like. */
function systemErrorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  const isSystem = typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) && 'syscall' in (error as Error);
  return isSystem ? code : undefined;
}
