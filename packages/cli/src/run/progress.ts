/** Progress of a training: a bar with ETA on a terminal, a plain line every few seconds elsewhere. */
import type { SingleBar } from 'cli-progress';
import { cleanText, printError, usesColor } from '../terminal.js';

/** What is shown after a step. */
export interface ProgressUpdate {
  /** Steps completed. */
  readonly step: number;
  /** Numbers to show, in this order: `loss 3.21`. */
  readonly numbers: readonly (readonly [name: string, value: number])[];
}

/** Shows progress. */
export interface Progress {
  update(update: ProgressUpdate): void;
  /** A line that stays: a warning, a checkpoint. */
  note(line: string): void;
  finish(): void;
}

/** Settings of `createProgress`. */
export interface ProgressOptions {
  /** `distil`, `train teacher`. */
  readonly label: string;
  readonly numSteps: number;
  /** Steps done before: a resumed run. */
  readonly firstStep: number;
  /** Samples per step, for the rate. */
  readonly batchSize: number;
  /** `images/s`, `sequences/s`. */
  readonly unit: string;
  /** How a number of steps is shown. @default as it is */
  readonly formatStep?: (step: number) => string;
  readonly everySeconds: number;
  readonly quiet: boolean;
  readonly stream?: NodeJS.WriteStream;
  readonly now?: () => number;
}

/** Makes the progress display that suits the stream. */
export async function createProgress(options: ProgressOptions): Promise<Progress> {
  const { stream = process.stderr, quiet, now = () => performance.now() } = options;
  if (quiet) return { update() {}, note: (line) => printError(line), finish() {} };
  const started = now();
  const rateAt = (step: number): { perSecond: number; remaining: number } => {
    const seconds = Math.max(1e-3, (now() - started) / 1000);
    const steps = step - options.firstStep;
    return {
      perSecond: (steps * options.batchSize) / seconds,
      remaining: steps > 0 ? ((options.numSteps - step) * seconds) / steps : Infinity,
    };
  };
  const describe = ({ step, numbers }: ProgressUpdate): string => {
    const { perSecond, remaining } = rateAt(step);
    return [
      ...numbers.map(([name, value]) => `${name} ${formatNumber(value)}`),
      `${formatNumber(perSecond)} ${options.unit}`,
      `ETA ${formatDuration(remaining)}`,
    ].join('  ');
  };
  if (stream.isTTY) return barProgress(await import('cli-progress'), options, { stream, describe, started, now });
  return lineProgress(options, { stream, describe, now });
}

interface Display {
  readonly stream: NodeJS.WriteStream;
  readonly describe: (update: ProgressUpdate) => string;
  readonly now: () => number;
  readonly started?: number;
}

function barProgress(
  module: typeof import('cli-progress') & { readonly default?: typeof import('cli-progress') },
  options: ProgressOptions,
  { stream, describe }: Display,
): Progress {
  const { SingleBar: Bar } = module.default ?? module;
  const { formatStep = String } = options;
  const bar: SingleBar = new Bar({
    format: `${cleanText(options.label)} {bar} {value}/{total}  {details}`,
    formatValue: (value, _options, type) => (type === 'value' || type === 'total' ? formatStep(value) : String(value)),
    barCompleteChar: '#',
    barIncompleteChar: '.',
    barsize: 20,
    hideCursor: true,
    stream,
    fps: 5,
    linewrap: false,
    gracefulExit: false,
  });
  bar.start(options.numSteps, options.firstStep, { details: '' });
  return {
    update: (update) => bar.update(update.step, { details: cleanText(describe(update)) }),
    note(line) {
      stream.write(`\r\u001b[2K${cleanText(line, usesColor(stream))}\n`);
    },
    finish: () => bar.stop(),
  };
}

function lineProgress(options: ProgressOptions, { stream, describe, now }: Display): Progress {
  let last = -Infinity;
  const { formatStep = String } = options;
  return {
    update(update) {
      const at = now();
      if (update.step < options.numSteps && at - last < options.everySeconds * 1000) return;
      last = at;
      stream.write(
        `${cleanText(`${options.label} ${formatStep(update.step)}/${formatStep(options.numSteps)}  ${describe(update)}`)}\n`,
      );
    },
    note(line) {
      stream.write(`${cleanText(line, usesColor(stream))}\n`);
    },
    finish() {},
  };
}

/** Four significant digits, without an exponent for everyday numbers. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2);
  return size >= 1000
    ? value.toFixed(0)
    : size >= 100
      ? value.toFixed(1)
      : size >= 1
        ? value.toFixed(2)
        : value.toFixed(4);
}

/** `812 B`, `1.2 MB`, `4.03 GB`. */
export function formatBytes(bytes: number): string {
  const [unit, size] = (
    [
      ['GB', 1e9],
      ['MB', 1e6],
      ['kB', 1e3],
    ] as const
  ).find(([, at]) => bytes >= at) ?? ['B', 1];
  const value = bytes / size;
  return `${size === 1 ? value : value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0)} ${unit}`;
}

/** `5 s`, `3:07 min`, `2:14 h`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const pad = (value: number) => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}:${pad(whole % 60)} min`;
  return `${Math.floor(whole / 3600)}:${pad(Math.floor((whole % 3600) / 60))} h`;
}
