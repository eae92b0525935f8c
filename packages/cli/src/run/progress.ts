/** Progress of a training: a bar with ETA on a terminal, a plain line every few seconds elsewhere. */
import { cleanText, hasCursor, printError, usesColor, widthOf } from '../output/terminal.js';

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
export function createProgress(options: ProgressOptions): Progress {
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
  const { formatStep = String, numSteps, unit } = options;
  const describe = ({ step, numbers }: ProgressUpdate): ProgressParts => {
    const { perSecond, remaining } = rateAt(step);
    return {
      label: cleanText(options.label),
      fraction: numSteps > 0 ? Math.min(1, step / numSteps) : 1,
      steps: `${formatStep(step)}/${formatStep(numSteps)}`,
      numbers: numbers.map(([name, value]) => cleanText(`${name} ${formatNumber(value)}`)),
      rate: `${formatNumber(perSecond)} ${unit}`,
      remaining: `ETA ${formatDuration(remaining)}`,
    };
  };
  return hasCursor(stream)
    ? barProgress(options, { stream, describe })
    : lineProgress(options, { stream, describe, now });
}

/** What a line of progress is made of. */
export interface ProgressParts {
  readonly label: string;
  /** Done, [0, 1]. */
  readonly fraction: number;
  /** `12/400`. */
  readonly steps: string;
  readonly numbers: readonly string[];
  readonly rate: string;
  /** `ETA 3:07 min`. */
  readonly remaining: string;
}

/**
 * The parts in one line of at most `width` characters. Where they do not all fit, the time that is left stays longest, then
 * come the steps (as a percentage if need be), the label, the rate, the first number, the bar, and the other numbers.
 */
export function progressLine(parts: ProgressParts, width: number): string {
  const { label, fraction, steps, numbers, rate, remaining } = parts;
  const percentage = `${Math.floor(100 * fraction)}%`;
  const bar = (length: number): string => {
    const done = Math.round(fraction * length);
    return '#'.repeat(done) + '.'.repeat(length - done);
  };
  const shown: { head: string[]; tail: string[] } = { head: [], tail: [remaining] };
  const join = ({ head, tail }: typeof shown): string => [head.join(' '), ...tail].filter(Boolean).join('  ');
  const tryPart = (add: (line: typeof shown) => typeof shown): boolean => {
    const next = add(shown);
    if (join(next).length > width) return false;
    Object.assign(shown, next);
    return true;
  };
  const stepsFit = [steps, percentage].some((text) => tryPart(({ tail }) => ({ head: [text], tail })));
  if (stepsFit) tryPart(({ head, tail }) => ({ head: [label, ...head], tail }));
  tryPart(({ head, tail }) => ({ head, tail: [rate, ...tail] }));
  let place = 0;
  const tryNumber = (number: string): boolean => {
    const fits = tryPart(({ head, tail }) => ({ head, tail: [...tail.slice(0, place), number, ...tail.slice(place)] }));
    if (fits) place++;
    return fits;
  };
  const firstFits = numbers.slice(0, 1).every(tryNumber);
  if (shown.head.length === 2)
    [20, 10, 5].some((length) => tryPart(({ head, tail }) => ({ head: [head[0]!, bar(length), head[1]!], tail })));
  if (firstFits) numbers.slice(1).every(tryNumber);
  return join(shown).slice(0, Math.max(0, width));
}

interface Display {
  readonly stream: NodeJS.WriteStream;
  readonly describe: (update: ProgressUpdate) => ProgressParts;
}

/** Milliseconds between redraws. */
const redrawEvery = 200;
/** Room for the `^C` that a terminal shows where the cursor is. */
const spareColumns = 3;

function barProgress(options: ProgressOptions, { stream, describe }: Display): Progress {
  let update: ProgressUpdate = { step: options.firstStep, numbers: [] };
  // The cursor is shown and lines wrap all the time: there is nothing to restore if the process is killed.
  const draw = (): void => {
    stream.write(`\r${progressLine(describe(update), widthOf(stream) - spareColumns)}\u001b[K`);
  };
  const onExit = (): void => void stream.write('\n');
  const timer = setInterval(draw, redrawEvery);
  timer.unref();
  stream.on('resize', draw);
  process.on('exit', onExit);
  draw();
  let isOpen = true;
  return {
    update(next) {
      update = next;
    },
    note(line) {
      stream.write(`\r\u001b[2K${cleanText(line, usesColor(stream))}\n`);
      if (isOpen) draw();
    },
    finish() {
      if (!isOpen) return;
      isOpen = false;
      clearInterval(timer);
      stream.off('resize', draw);
      process.off('exit', onExit);
      draw();
      stream.write('\n');
    },
  };
}

function lineProgress(
  options: ProgressOptions,
  { stream, describe, now }: Display & { readonly now: () => number },
): Progress {
  let last = -Infinity;
  return {
    update(update) {
      const at = now();
      if (update.step < options.numSteps && at - last < options.everySeconds * 1000) return;
      last = at;
      const { label, steps, numbers, rate, remaining } = describe(update);
      stream.write(`${[`${label} ${steps}`, ...numbers, rate, remaining].join('  ')}\n`);
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
