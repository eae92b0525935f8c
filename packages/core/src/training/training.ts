/**
 * A training program as data, and the loop that runs it. Distillation, teacher, tokenizer and classifier training are
 * all programs: pure functions for the device, draws that depend on the step alone, and a few counters on the host.
 * So one loop serves them all, and a checkpoint (state + counters + step) resumes any of them bit for bit.
 */
import { requireInteger } from '../options/check-options.js';
import { maxSkipped } from '../options/training-fields.js';
import type { CompiledFunction, DeviceTree, Engine, PureFunction } from '../engine/engine.js';
import { DimoError, NonFiniteError, OptionError } from '../errors.js';
import { explainMemory } from '../engine/out-of-memory.js';
import { isTensorSource, type TensorSource } from '../tensors/tensor-source.js';
import { scalar, specsOf, type HostTree, type SpecTree } from '../tensors/tensors.js';

/**
 * Version of what a seed gives: raised when a training draws other numbers from the same seed, so that a checkpoint of before
 * is not continued with others unnoticed.
 */
export const drawsVersion = 2;

/** Host numbers that a checkpoint keeps: optimizer updates made, steps skipped. */
export type Counters = Readonly<Record<string, number>>;

/** One call of a compiled function within a step. */
export interface StepCall {
  /** Key in `TrainingProgram.functions`. */
  readonly fn: string;
  readonly inputs: HostTree;
  /**
   * What the function is given of the state and the scratch, by its own names for them. @default everything, under the
   * names that it has
   */
  readonly state?: Readonly<Record<string, string>>;
  /** Scratch that the function has other names for, by these; given beside the whole state. @default the names that it has */
  readonly scratch?: Readonly<Record<string, string>>;
  /** Calls of one function that follow each other and are parts of a whole: they may be made at the same time. */
  readonly part?: { readonly of: number };
  /**
   * Set where the call computes this rank's part of a sum over the ranks of a data-parallel run: of its scalar outputs,
   * and of the named tensors of the state, which are whole sums once all ranks have made this call.
   */
  readonly contributes?: { readonly state: readonly string[] };
}

/** The other ranks of a data-parallel run. Every rank makes the same calls in the same order. */
export interface RankExchange {
  /** Replaces tensors of the state by their sums over all ranks. */
  addState(state: DeviceTree, names: readonly string[]): Promise<void>;
  /** Sums of numbers over all ranks. */
  addNumbers(values: Float32Array): Promise<Float32Array>;
}

/** What the host reads after the calls of a step. */
export interface StepResult {
  /** Numbers to log. */
  readonly metrics: Readonly<Record<string, number>>;
  readonly counters: Counters;
  /** True if a loss or gradient was not finite and the update left the state unchanged. */
  readonly skipped?: boolean;
  /** Ends the run, after the step is counted: the state is that of the end of the step. */
  readonly failure?: DimoError;
}

/** A training program. `Draws` are the random numbers and data of one step. */
export interface TrainingProgram<Draws = unknown> {
  /** For messages and checkpoints: `distillation`, `maskgit-teacher`. */
  readonly name: string;
  readonly numSteps: number;
  /** Images (or sequences) per step, for the rate. */
  readonly batchSize: number;
  /** Ranks among which each batch is shared; they need an exchange. @default 1 */
  readonly ranks?: number;
  /** Compiled for the shapes of the first inputs that each is called with. */
  readonly functions: Readonly<Record<string, PureFunction>>;
  /**
   * The same training with every batch computed in parts, which can run at the same time. The state, the counters and the
   * draws are the same; sums are in another order, that of the parts, which follow from the batch alone. @default batches are
   * not divided
   */
  divided?(): TrainingProgram<Draws>;
  /** Everything on the device: weights, moments. */
  initialState(): HostTree;
  /** What the calls of a step hand each other on the device beside the state; holds nothing between steps. @default none */
  readonly scratch?: SpecTree;
  readonly initialCounters: Counters;
  /**
   * Random numbers and data of a step. The numbers depend on the step alone, so they can be made ahead of time.
   *
   * @param onDevice - leave what is large to be drawn by the engine, which makes random numbers itself. @default false
   */
  draw(step: number, onDevice?: boolean): Draws | Promise<Draws>;
  /** The device calls of a step, in order. */
  calls(step: number, counters: Counters, draws: Draws): readonly StepCall[];
  /** Reads the outputs of the calls. What it throws ends the run and leaves the step half done; see `StepResult.failure`. */
  finish(step: number, counters: Counters, outputs: readonly HostTree[]): StepResult;
}

/** Where a run stands; what a checkpoint holds. */
export interface TrainingSnapshot {
  /** Steps completed. */
  readonly step: number;
  readonly counters: Counters;
  readonly state: HostTree;
}

/** What a run can be continued from. */
export interface TrainingStart extends Omit<TrainingSnapshot, 'state'> {
  /** Of a source, tensors are read one at a time; those that it lacks are the program's initial ones. */
  readonly state: HostTree | TensorSource;
  /** Called once, when the state is on the device or could not be brought there. */
  readonly close?: () => Promise<void>;
}

/** A run between two steps. Valid until the next one begins. */
export interface LiveTraining {
  /** Steps completed, 0 .. numSteps. */
  readonly step: number;
  readonly counters: Counters;
  /** Reads the current state from the device: a copy of all of it, which stays. */
  readonly snapshot: () => Promise<TrainingSnapshot>;
  /** The state on the device: for functions compiled by the same engine, and to be read a few tensors at a time. */
  readonly deviceState: DeviceTree;
}

/** Reported after every step. */
export type StepReport = StepResult & LiveTraining;

/** A run that has ended or was stopped, while its state is on the device still. */
export interface TrainingEnd extends LiveTraining {
  /** True if `signal` stopped it before the last step. */
  readonly stopped: boolean;
}

/** Options of `runTraining`. */
export interface TrainingOptions {
  readonly engine: Engine;
  /** Continues from here. @default the program's initial state */
  readonly from?: TrainingStart;
  /** Stops after this step. @default the program's numSteps */
  readonly until?: number;
  /** Called after every step and awaited; the next step starts when it settles. */
  readonly onStep?: (report: StepReport) => void | Promise<void>;
  /** Stops at the next step boundary. */
  readonly signal?: AbortSignal;
  /**
   * Called when the run fails and its state is that of the end of a step, before the state is released: so that it can be
   * saved. Not called where a step failed after it had changed a part of the state.
   */
  readonly onFailure?: (live: LiveTraining, error: unknown) => void | Promise<void>;
  /** Adds up what the ranks of a data-parallel run contribute. @default this process is the only rank */
  readonly exchange?: RankExchange;
  /**
   * The memory of the first state may move to the device: what it was made of, the weights of a teacher for one, must not be
   * used afterwards. @default false
   */
  readonly moveState?: boolean;
  /** Stops with `NonFiniteError` after this many skipped steps in a row. @default that of `maxSkipped` in a configuration */
  readonly maxSkippedInARow?: number;
}

/** A finished or stopped run. */
export interface TrainingResult extends TrainingSnapshot {
  /** True if `signal` stopped it before the last step. */
  readonly stopped: boolean;
}

/**
 * Runs a training program.
 *
 * @returns a copy of its state in memory; `withTraining` needs none.
 * @throws DimoError with code `device` if memory runs out, naming the batch and what to lower.
 * @throws NonFiniteError if a step is not finite and the program's policy is to throw, or too many are skipped in a row.
 */
export function runTraining<Draws>(program: TrainingProgram<Draws>, options: TrainingOptions): Promise<TrainingResult> {
  return withTraining(program, options, async ({ stopped, snapshot }) => ({ ...(await snapshot()), stopped }));
}

/**
 * Runs a training program, and gives what it has made to a function while it is on the device still.
 *
 * @param use - what it throws does not count as a failure of the run: `onFailure` is not called.
 * @returns what `use` returns.
 * @throws as `runTraining`.
 */
export async function withTraining<Draws, T>(
  whole: TrainingProgram<Draws>,
  options: TrainingOptions,
  use: (end: TrainingEnd) => Promise<T>,
): Promise<T> {
  const { onStep, onFailure, signal, exchange } = options;
  checkOptions(whole, options);
  const maxSkippedInARow = maxSkipped.parse(options.maxSkippedInARow);
  const engine = explainMemory(options.engine, whole);
  const { parallelRuns } = engine;
  const program = (parallelRuns !== undefined && whole.divided?.()) || whole;
  const until = Math.min(options.until ?? program.numSteps, program.numSteps);
  let { step, counters } = options.from ?? { step: 0, counters: program.initialCounters };
  const compiled = new Map<string, CompiledFunction>();
  const releaseFunctions = async (): Promise<void> => {
    for (const fn of compiled.values()) await fn.dispose();
    compiled.clear();
  };
  const { scratch = {} } = program;
  const state = await uploadState(engine, program, options);
  // False from the first call of a step that has changed the state until the step is counted.
  let isWholeStep = true;
  const live = (): LiveTraining => ({
    step,
    counters,
    snapshot: async () => ({ step, counters, state: await state.download() }),
    deviceState: state,
  });
  const train = async (): Promise<void> => {
    const specs = { ...state.specs, ...scratch };
    const atOnce = (parts: number): number => Math.min(parts, parallelRuns ?? 1);
    /** What a call runs, compiled for the inputs of the first call of its function. */
    const functionOf = async (call: StepCall): Promise<CompiledFunction> => {
      const { fn, inputs, part } = call;
      const known = compiled.get(fn);
      if (known) return known;
      const pure = program.functions[fn];
      if (!pure) throw new DimoError('internal', `training step calls "${fn}", which the program does not define`);
      const names = namesOf(call, state.specs);
      const bound = names && Object.fromEntries(Object.entries(names).map(([own, name]) => [own, specs[name]!]));
      const signature = { state: bound ?? specs, inputs: specsOf(inputs) };
      const made = await engine.compile(pure, signature, part && { overlapping: atOnce(part.of) });
      compiled.set(fn, made);
      return made;
    };
    const letOthersIn = eventLoopTurns();
    let skippedInARow = 0;
    let draws = step < until ? await program.draw(step, engine.makesRandomNumbers) : undefined;
    while (step < until && !signal?.aborted) {
      const calls = program.calls(step, counters, draws as Draws);
      // All of them before the first runs: a function that cannot be compiled leaves the state as it was.
      for (const call of calls) await functionOf(call);
      const onChange = () => void (isWholeStep = false);
      const pending = runCalls(calls, { functionOf, state, exchange, atOnce, onChange });
      // The next draws are made while the device works.
      const following = step + 1;
      const next = following < until ? settled(() => program.draw(following, engine.makesRandomNumbers)) : undefined;
      const outputs = await pending;
      const result = program.finish(step, counters, outputs);
      counters = result.counters;
      step++;
      isWholeStep = true;
      if (result.failure) throw result.failure;
      skippedInARow = result.skipped ? skippedInARow + 1 : 0;
      if (skippedInARow >= maxSkippedInARow)
        throw new NonFiniteError(
          `${program.name}: ${skippedInARow} steps in a row, the last of them step ${step}, had a loss or gradient that is not finite`,
          { hint: 'resume from the last checkpoint with a lower learning rate' },
        );
      await onStep?.({ ...result, ...live() });
      await letOthersIn();
      draws = await next;
    }
  };
  try {
    try {
      await train();
    } catch (error) {
      if (isWholeStep) await onFailure?.(live(), error);
      throw error;
    }
    await releaseFunctions();
    return await use({ ...live(), stopped: step < until });
  } finally {
    await releaseFunctions();
    await state.dispose();
  }
}

/** The state that a run begins with. Of a source, no more than one tensor is in memory beside it. */
async function uploadState(
  engine: Engine,
  { initialState, scratch = {} }: TrainingProgram,
  { from: start, moveState = false }: TrainingOptions,
): Promise<DeviceTree> {
  const { state: from, close }: Partial<TrainingStart> = start ?? {};
  const upload = { move: moveState, scratch };
  let state: DeviceTree | undefined;
  try {
    if (from && !isTensorSource(from)) state = await engine.upload(from, upload);
    else {
      state = await engine.upload(initialState(), upload);
      for (const name of Object.keys(from?.specs ?? {})) await state.assign(await from!.read([name]));
    }
    await close?.();
    return state;
  } catch (error) {
    await close?.().catch(() => undefined);
    await state?.dispose();
    throw error;
  }
}

/** A step that is none would never be reached, or start the draws of another. */
function checkOptions({ name, numSteps, ranks = 1 }: TrainingProgram, options: TrainingOptions): void {
  const { from, until, maxSkippedInARow, exchange } = options;
  if (Boolean(exchange) !== ranks > 1)
    throw new OptionError(
      exchange
        ? `${name}: an exchange between ranks was given for a program that does not share its batches`
        : `${name}: its batches are shared among ${ranks} ranks, and no exchange between them was given`,
    );
  requireInteger(numSteps, `${name}: numSteps`, 0);
  requireInteger(until, `${name}: until`, 0, 0);
  requireInteger(maxSkippedInARow, `${name}: maxSkippedInARow`, 1, 1);
  if (!from) return;
  requireInteger(from.step, `${name}: from.step`, 0);
  for (const [counter, value] of Object.entries(from.counters))
    requireInteger(value, `${name}: from.counters.${counter}`, 0);
}

/**
 * An engine that computes on this thread settles its promises without ever returning to the event loop: timers and signals,
 * and so a stop request, would wait for the end of the run. Ten turns a second let them in.
 */
function eventLoopTurns(): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < 100) return;
    await new Promise((resolve) => setTimeout(resolve, 0));
    last = performance.now();
  };
}

interface RunningCalls {
  functionOf(call: StepCall): Promise<CompiledFunction>;
  readonly state: DeviceTree;
  readonly exchange: RankExchange | undefined;
  /** Parts of a batch that are under way at the same time, of so many. */
  atOnce(parts: number): number;
  onChange(): void;
}

async function runCalls(
  calls: readonly StepCall[],
  { functionOf, state, exchange, atOnce, onChange }: RunningCalls,
): Promise<HostTree[]> {
  const outputs: HostTree[] = [];
  const run = async (call: StepCall): Promise<HostTree> => {
    const fn = await functionOf(call);
    return fn.run(state, call.inputs, namesOf(call, state.specs));
  };
  for (let i = 0; i < calls.length;) {
    const call = calls[i]!;
    const together = calls.slice(i, i + (call.part?.of ?? 1));
    i += together.length;
    if (together.length > 1) {
      outputs.push(...(await atMost(atOnce(together.length), together, run)));
      continue;
    }
    const made = await run(call);
    onChange();
    if (!exchange || !call.contributes) outputs.push(made);
    else {
      if (call.contributes.state.length > 0) await exchange.addState(state, call.contributes.state);
      outputs.push(await addedOutputs(made, exchange));
    }
  }
  return outputs;
}

/** Names in the device tree of what a call's function is given. */
function namesOf({ state, scratch }: StepCall, specs: SpecTree): Readonly<Record<string, string>> | undefined {
  if (!scratch) return state;
  return { ...Object.fromEntries(Object.keys(specs).map((name) => [name, name])), ...scratch };
}

/** Results of tasks, so many at a time; where some failed, the first failure, once none is under way. */
async function atMost<T, R>(limit: number, items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: Promise<R>[] = [];
  let hasFailed = false;
  const worker = async (): Promise<void> => {
    while (results.length < items.length && !hasFailed) {
      const result = task(items[results.length]!);
      results.push(result);
      await result.catch(() => (hasFailed = true));
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  return Promise.all(results);
}

/** Outputs whose scalars are the sums over all ranks. */
async function addedOutputs(outputs: HostTree, exchange: RankExchange): Promise<HostTree> {
  const names = Object.keys(outputs)
    .filter((name) => outputs[name]!.shape.length === 0)
    .sort();
  const sums = await exchange.addNumbers(Float32Array.from(names, (name) => outputs[name]!.data[0]!));
  return { ...outputs, ...Object.fromEntries(names.map((name, i) => [name, scalar(sums[i]!)])) };
}

/** Starts making draws; a failure is reported where they are awaited, not as an unhandled rejection. */
function settled<Draws>(draw: () => Draws | Promise<Draws>): Promise<Draws> {
  const promise = (async () => draw())();
  promise.catch(() => {});
  return promise;
}
