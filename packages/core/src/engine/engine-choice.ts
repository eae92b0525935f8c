/** Which of several engines to use: the one whose real step is fastest here, measured once and remembered. */
import type { Engine, EngineFactory, EngineOptions } from './engine.js';
import { measureEngine } from './engine-measurement.js';
import { BackendUnavailableError, DimoError, OptionError } from '../errors.js';

/** Keeps answers between visits or runs. May fail; then it is as if it had nothing. */
export interface EngineMemory {
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string): Promise<void>;
}

/** A measured engine. */
export interface EngineMeasurement {
  readonly name: string;
  /** One step of `measureEngine`. */
  readonly milliseconds: number;
}

/** A chosen engine. */
export interface ChosenEngine {
  readonly engine: Engine;
  /** One sentence for the log: what was picked, and why nothing better. */
  readonly explanation: string;
  /** What was measured, now or when the answer was found; empty where there was nothing to compare. */
  readonly measurements: readonly EngineMeasurement[];
  /** True if the answer is an earlier one. */
  readonly isRemembered: boolean;
}

/** Options of `chooseFastestEngine`. */
export interface ChooseFastestOptions<Options extends EngineOptions = EngineOptions> {
  /**
   * Engines in groups. All of a group are tried and, if more than one runs, measured; the next group is tried if none
   * runs, or the fastest is slower than `fastEnoughMilliseconds`.
   */
  readonly groups: readonly (readonly EngineFactory[])[];
  /** For the engines. */
  readonly options?: Options;
  /** @default Infinity */
  readonly fastEnoughMilliseconds?: number;
  readonly memory?: EngineMemory | undefined;
  /** What the answer depends on: versions and devices. An answer under another key is not used. */
  readonly key: string;
  /** Measure even if there is an answer. @default false */
  readonly remeasure?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Called before an engine is tried or measured, which may take seconds. */
  readonly onProgress?: ((event: EngineChoiceProgress) => void) | undefined;
  /** Seconds per engine. @default that of `measureEngine` */
  readonly seconds?: number;
  /** Measure adapters that emulate a GPU on the CPU as well; for tests. @default false */
  readonly measuresSoftware?: boolean;
}

/** What `chooseFastestEngine` is about to do. */
export interface EngineChoiceProgress {
  readonly engine: string;
  readonly stage: 'start' | 'measure';
}

/** What is remembered. */
interface Answer {
  readonly name: string;
  readonly measurements: readonly EngineMeasurement[];
  /** Of the first answer: milliseconds since 1970. */
  readonly time: number;
}

/** An answer holds for a month: drivers change without telling. */
const longestMemory = 30 * 24 * 3600 * 1000;

interface Usable {
  readonly factory: EngineFactory;
  readonly engine: Engine;
  milliseconds: number | undefined;
}

/**
 * Makes the fastest engine. With a remembered answer only that engine is started; where only one engine runs, nothing is
 * measured, and nothing remembered if it is not of the first group. Engines on adapters that emulate a GPU are passed over.
 *
 * @throws BackendUnavailableError if no engine runs here, with every reason.
 * @throws OptionError if an engine refuses the options; DimoError with code `cancelled` if `signal` says so.
 */
export async function chooseFastestEngine<Options extends EngineOptions>(
  choice: ChooseFastestOptions<Options>,
): Promise<ChosenEngine> {
  const remembered = choice.remeasure ? undefined : await recall(choice);
  if (remembered) return remembered;
  const passedOver: string[] = [];
  const usable: Usable[] = [];
  try {
    for (const group of choice.groups) {
      if (isGoodEnough(usable, choice.fastEnoughMilliseconds ?? Infinity)) break;
      for (const factory of group) await start(factory, choice, usable, passedOver);
      const isNeeded = usable.length > 1 || choice.fastEnoughMilliseconds !== undefined;
      if (isNeeded && usable.length > 0) await measure(usable, choice, passedOver);
    }
    const best = [...usable].sort((a, b) => (a.milliseconds ?? Infinity) - (b.milliseconds ?? Infinity))[0];
    if (!best)
      throw new BackendUnavailableError(`engine auto: no engine runs here: ${passedOver.join('; ')}`, {
        hint: 'see what each engine needs, and make one of them available',
      });
    usable.splice(usable.indexOf(best), 1);
    const measurements = [best, ...usable].flatMap(({ factory, milliseconds }) =>
      milliseconds === undefined ? [] : [{ name: factory.name, milliseconds }],
    );
    const answer: Answer = { name: best.factory.name, measurements, time: Date.now() };
    // A better engine that fails, maybe this once, is to be named and tried again.
    const isFallback =
      measurements.length === 0 && !choice.groups.find(({ length }) => length > 0)?.includes(best.factory);
    if (!isFallback) await choice.memory?.set(choice.key, JSON.stringify(answer)).catch(() => {});
    const reasons = [
      measurements.length > 1 ? ` by measurement (${inWords(measurements)})` : '',
      passedOver.length > 0 ? `; passed over: ${passedOver.join('; ')}` : '',
    ];
    const { name, device } = best.engine.info;
    return {
      engine: best.engine,
      explanation: `engine ${name} on ${device}, the fastest that runs here${reasons.join('')}`,
      measurements,
      isRemembered: false,
    };
  } finally {
    for (const { engine } of usable) await engine.dispose().catch(() => {});
  }
}

/** The engine of an earlier answer, if there is one and it still starts. */
async function recall<Options extends EngineOptions>(
  choice: ChooseFastestOptions<Options>,
): Promise<ChosenEngine | undefined> {
  const answer = parseAnswer(await choice.memory?.get(choice.key).catch(() => undefined));
  const factory = choice.groups.flat().find(({ name }) => name === answer?.name);
  if (!answer || !factory || Math.abs(Date.now() - answer.time) > longestMemory) return undefined;
  throwIfStopped(choice.signal);
  try {
    choice.onProgress?.({ engine: factory.name, stage: 'start' });
    const engine = await factory.create(choice.options);
    const day = new Date(answer.time).toISOString().slice(0, 10);
    const how = answer.measurements.length > 1 ? `, by measurement (${inWords(answer.measurements)})` : '';
    return {
      engine,
      explanation: `engine ${engine.info.name} on ${engine.info.device}, found the fastest here on ${day}${how}`,
      measurements: answer.measurements,
      isRemembered: true,
    };
  } catch (error) {
    if (error instanceof OptionError) throw error;
    return undefined; // something has changed: look again
  }
}

function parseAnswer(text: string | undefined): Answer | undefined {
  try {
    const { name, measurements, time } = JSON.parse(text ?? 'null') as Partial<Answer>;
    const isWhole =
      typeof name === 'string' &&
      typeof time === 'number' &&
      Array.isArray(measurements) &&
      measurements.every(
        (entry: Partial<EngineMeasurement> | null) =>
          typeof entry?.name === 'string' && typeof entry.milliseconds === 'number',
      );
    return isWhole ? { name, time, measurements } : undefined;
  } catch {
    return undefined;
  }
}

function isGoodEnough(usable: readonly Usable[], fastEnough: number): boolean {
  return usable.some(({ milliseconds }) => fastEnough === Infinity || (milliseconds ?? Infinity) <= fastEnough);
}

async function start<Options extends EngineOptions>(
  factory: EngineFactory,
  { options, signal, onProgress, measuresSoftware }: ChooseFastestOptions<Options>,
  usable: Usable[],
  passedOver: string[],
): Promise<void> {
  throwIfStopped(signal);
  onProgress?.({ engine: factory.name, stage: 'start' });
  try {
    const engine = await factory.create(options);
    if (!engine.info.isSoftware || measuresSoftware) {
      usable.push({ factory, engine, milliseconds: undefined });
      return;
    }
    passedOver.push(`${factory.name} (${engine.info.device} only emulates a GPU)`);
    await engine.dispose();
  } catch (error) {
    if (error instanceof OptionError) throw error;
    passedOver.push(`${factory.name} (${shortReason(factory.name, error)})`);
  }
}

/** Measures what has not been measured; an engine that fails at it is passed over. */
async function measure<Options extends EngineOptions>(
  usable: Usable[],
  { signal, onProgress, seconds }: ChooseFastestOptions<Options>,
  passedOver: string[],
): Promise<void> {
  for (const entry of [...usable]) {
    if (entry.milliseconds !== undefined) continue;
    const { factory, engine } = entry;
    onProgress?.({ engine: factory.name, stage: 'measure' });
    try {
      entry.milliseconds = await measureEngine(engine, { signal, ...(seconds === undefined ? {} : { seconds }) });
    } catch (error) {
      if (DimoError.isInstance(error) && error.code === 'cancelled') throw error;
      passedOver.push(`${factory.name} (${shortReason(factory.name, error)})`);
      usable.splice(usable.indexOf(entry), 1);
      await engine.dispose().catch(() => {});
    }
  }
}

function throwIfStopped(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new DimoError('cancelled', 'choosing an engine was stopped on request');
}

function inWords(measurements: readonly EngineMeasurement[]): string {
  return `${measurements
    .map(({ name, milliseconds }) => `${name} ${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`)
    .join(', ')} a step`;
}

function shortReason(name: string, error: unknown): string {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
  const start = `${name} engine: `;
  return reason.startsWith(start) ? reason.slice(start.length) : reason;
}
