/** Which engine to use, and why. */
import {
  BackendUnavailableError,
  chooseFastestEngine,
  OptionError,
  type ChosenEngine,
  type Engine,
  type EngineChoiceProgress,
  type EngineFactory,
  type EngineMemory,
  type EngineOptions,
} from '@dimo/core';
import { engineMemoryKey, fileEngineMemory } from './engine-memory.js';
import { hasOnnxruntime, installCommand } from './onnxruntime-package.js';
import { nodeEngines } from './plugin.js';

export type { ChosenEngine } from '@dimo/core';

/** Options of `chooseEngine`. */
export interface ChooseEngineOptions extends EngineOptions {
  /** Where names are looked up, plugins' engines included. @default the engines of this package */
  readonly engines?: readonly EngineFactory[];
  /** Where the answer of `auto` is kept; `false` keeps nothing. @default a file in the user's cache folder */
  readonly memory?: EngineMemory | false;
  /** Measure even if there is an answer. @default false */
  readonly remeasure?: boolean;
  readonly signal?: AbortSignal;
  /** Called before `auto` tries or measures an engine. */
  readonly onProgress?: (event: EngineChoiceProgress) => void;
}

/**
 * What `auto` measures, and what it falls back to where none of it runs. `tensorflow` and `cpu` are for comparison: `onnx`
 * and `wasm` are faster.
 */
const automaticGroups = [['cuda', 'onnx-cuda', 'webgpu', 'onnx-webgpu', processorEngine()], ['onnx'], ['wasm']];

/** `onnx-native` is faster and needs less memory than `onnx`; it has run on Linux alone. */
function processorEngine(): string {
  return process.platform === 'linux' ? 'onnx-native' : 'onnx';
}

/**
 * Makes an engine by name; `auto` takes the one whose real step is fastest here, of cuda, onnx-cuda, webgpu, onnx-webgpu
 * and onnx-native (on Linux), else onnx, else wasm. Adapters that emulate a GPU on the CPU are passed over, and where one
 * engine runs nothing is measured. The answer is remembered for a month, per versions, processor and GPU
 * driver, unless it stands in for engines that fail.
 *
 * @throws OptionError for an unknown name.
 * @throws BackendUnavailableError if the named engine, or with `auto` every engine, is unavailable.
 */
export async function chooseEngine(name: string, options: ChooseEngineOptions = {}): Promise<ChosenEngine> {
  const { engines = nodeEngines, memory, remeasure, signal, onProgress, ...engineOptions } = options;
  if (name !== 'auto') {
    const factory = engines.find((candidate) => candidate.name === name);
    if (!factory)
      throw new OptionError(
        `engine: expected auto, ${engines.map((candidate) => candidate.name).join(', ')}; got ${JSON.stringify(name)}`,
        { hint: '`dimo doctor` lists the engines that run on this machine' },
      );
    const engine = await factory.create(engineOptions);
    const explanation = `engine ${engine.info.name} on ${engine.info.device}, as requested`;
    return { engine, explanation, measurements: [], isRemembered: false };
  }
  const groups = automaticGroups.map((names) =>
    names.flatMap((wanted) => engines.filter((factory) => factory.name === wanted).map(knowingItsAdapter)),
  );
  const names = groups.flat().map((factory) => factory.name);
  const chosen = await chooseFastestEngine({
    groups,
    options: engineOptions,
    memory: memory === false ? undefined : (memory ?? fileEngineMemory()),
    key: engineMemoryKey(names, engineOptions.threads),
    signal,
    onProgress,
    ...(remeasure === undefined ? {} : { remeasure }),
  });
  if (chosen.engine.info.name !== 'wasm' || hasOnnxruntime()) return chosen;
  // In a line of its own: an installation that went wrong without a word is easily mended.
  const warning =
    'warning: the package onnxruntime-node is not installed, so this runs several times slower; to fix: ' +
    `run \`${installCommand()}\``;
  return { ...chosen, explanation: `${chosen.explanation}\n${warning}` };
}

/** Our engines on WebGPU are started only where the adapter is known to be a GPU; others are taken as they are. */
function knowingItsAdapter(factory: EngineFactory): EngineFactory {
  const { name } = factory;
  if (!nodeEngines.includes(factory) || (name !== 'webgpu' && name !== 'onnx-webgpu')) return factory;
  const create = async (options?: EngineOptions): Promise<Engine> => {
    const { probeAdapter } = await import('./eager/adapter-probe.js');
    const adapter = await probeAdapter();
    if (adapter.kind === 'none')
      throw new BackendUnavailableError(`${name} engine: there is no WebGPU adapter on this machine`);
    if (adapter.kind === 'adapter' && adapter.isSoftware)
      throw new BackendUnavailableError(`${name} engine: ${adapter.device} only emulates a GPU`);
    const engine = await factory.create(options);
    if (adapter.kind === 'adapter' || engine.info.isSoftware !== undefined) return engine;
    await engine.dispose();
    throw new BackendUnavailableError(
      `${name} engine: without the package webgpu nothing tells whether the adapter is a GPU`,
    );
  };
  return { ...factory, create };
}
