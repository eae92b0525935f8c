/**
 * Engines run pure functions. A pure function gets named tensors and returns named tensors; it reads no clock, no global
 * and no random source, never reads a value back (`dataSync`) and branches on shapes only. So the same function runs
 * eagerly on a tfjs backend or is traced once into one graph.
 */
import type { HostTree, SpecTree, TensorTree } from '../tensors/tensors.js';

/**
 * A pure function.
 *
 * @param state - tensors that live on the device between calls: weights, optimizer moments. Borrowed.
 * @param inputs - tensors that change with every call: draws, conditions, learning rates. Borrowed.
 * @returns `state`: the new values of some (or none) of the state tensors, under the same names, shapes and dtypes;
 *   `outputs`: results for the caller. Both owned by the engine.
 */
export type PureFunction = (state: TensorTree, inputs: TensorTree) => { state?: TensorTree; outputs: TensorTree };

/** What `compile` has to know of the arguments. */
export interface FunctionSignature {
  /** Which state tensors the function reads or writes. A device tree may hold more than these. */
  readonly state: SpecTree;
  readonly inputs: SpecTree;
}

/** Facts about an engine, for people and for `metrics.jsonl`. */
export interface EngineInfo {
  readonly name: string;
  /** The device in words: `CPU, 2 threads`, `llvmpipe (software)`. */
  readonly device: string;
  /** Versions of the libraries that compute. */
  readonly versions: Readonly<Record<string, string>>;
  /** True if an adapter or library emulates a GPU on the CPU. */
  readonly isSoftware?: boolean;
}

/** Named tensors on an engine's device. Belongs to the engine that made it. */
export interface DeviceTree {
  /** Those that were uploaded; without scratch. */
  readonly specs: SpecTree;
  /** Copies tensors to the host; all of them, or those named. Never aliases device memory. */
  download(names?: readonly string[]): Promise<HostTree>;
  /** Replaces the values of existing tensors. @throws ShapeError if a name, shape or dtype differs. */
  assign(values: HostTree): Promise<void>;
  dispose(): Promise<void>;
}

/** A pure function made ready for one engine and one set of shapes. */
export interface CompiledFunction {
  readonly signature: FunctionSignature;
  /**
   * Runs the function once. The state tensors that the function returns replace those of `state`, all of them or, if the
   * run fails, none.
   *
   * Calls need not be awaited: results are those of one run after another, in the order of the calls. Where the engine has
   * `parallelRuns`, runs of one function or of several that do not touch what another of them changes compute at the same
   * time: give each the names of its own results, for example in scratch.
   *
   * @param names - name in the device tree of each state tensor of the signature: one compiled function serves several sets
   *   of tensors of equal shapes. @default the same names
   * @throws ShapeError if an argument does not fit the signature.
   * @throws DimoError with code `device` if the device fails.
   */
  run(state: DeviceTree, inputs: HostTree, names?: Readonly<Record<string, string>>): Promise<HostTree>;
  dispose(): Promise<void>;
}

/** Options of `Engine.upload`. */
export interface UploadOptions {
  /**
   * The tree may give its memory to the device instead of being copied, and must not be used afterwards: for weights that
   * are large and needed nowhere else. @default false
   */
  readonly move?: boolean;
  /**
   * Further tensors, without values: what one function writes for another to read. They cost memory from the first write
   * on, a function that does not read one writes it in place, and a run that fails leaves anything in them. Downloaded
   * only by name. @default none
   */
  readonly scratch?: SpecTree;
}

/** Options of `Engine.compile`. */
export interface CompileOptions {
  /**
   * Runs of this function that will be under way at the same time (see `CompiledFunction.run`), among which an engine with
   * `parallelRuns` shares its threads; others ignore it. @default 1
   */
  readonly overlapping?: number;
}

/** Something that runs pure functions. */
export interface Engine {
  readonly info: EngineInfo;
  /** True if inputs made by `drawnTensor` are drawn on the device: then nobody need draw them ahead of time. @default false */
  readonly makesRandomNumbers?: boolean;
  /**
   * Runs that are best under way at the same time, because threads that share a run wait for each other at every operation.
   * Where it is given, 1 included, training divides its batches (`TrainingProgram.divided`). See `CompiledFunction.run`.
   * @default one run after another, of whole batches
   */
  readonly parallelRuns?: number;
  upload(tree: HostTree, options?: UploadOptions): Promise<DeviceTree>;
  /** @throws DimoError with code `trace` if the function cannot be made into a graph. */
  compile(fn: PureFunction, signature: FunctionSignature, options?: CompileOptions): Promise<CompiledFunction>;
  /** Releases everything that the engine still holds. */
  dispose(): Promise<void>;
}

/** What an engine plugin says of the machine it is on. */
export type EngineAvailability =
  | { readonly available: true; readonly info: EngineInfo }
  | {
      readonly available: false;
      /** One line: what is missing. */
      readonly reason: string;
      /** The command or action that would make it available. */
      readonly fix: string;
    };

/** Options that every engine understands. */
export interface EngineOptions {
  /** Threads for CPU engines. @default the number of physical cores */
  readonly threads?: number;
}

/** Makes an engine; nothing is loaded before `probe` or `create`. */
export interface EngineFactory {
  readonly name: string;
  probe(): Promise<EngineAvailability>;
  /** @throws BackendUnavailableError with the reason and the fix. */
  create(options?: EngineOptions): Promise<Engine>;
}
