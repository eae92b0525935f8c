/** `auto` in browsers: the engine that is fastest on this visitor's machine. */
import { chooseFastestEngine, type ChosenEngine, type EngineChoiceProgress, type EngineMemory } from '@dimo/core';
import { adapterOptions } from '@dimo/kernels/device';
import { browserGpu } from './gpu.js';
import { browserMemory } from './memory.js';
import type { WebEngineOptions } from './options.js';
import { webEngines, type WebEngineFactory } from './plugin.js';

/** Options of `chooseWebEngine`. */
export interface ChooseWebEngineOptions extends WebEngineOptions {
  /** Where engines come from. @default `webEngines` */
  readonly engines?: readonly WebEngineFactory[];
  /** Where the answer is kept; `false` keeps nothing. @default IndexedDB, where there is one */
  readonly memory?: EngineMemory | false;
  /** Measure even if there is an answer. @default false */
  readonly remeasure?: boolean;
  /** Measure an adapter that emulates a GPU as well; for tests. @default false */
  readonly measuresSoftware?: boolean;
  readonly signal?: AbortSignal;
  /** Called before an engine is tried or measured: its files may have to be downloaded. */
  readonly onProgress?: (event: EngineChoiceProgress) => void;
}

/** With a GPU step faster than this, the CPU is not even tried: it would be another download. */
const fastEnoughMilliseconds = 60;

/**
 * Makes the engine that is fastest here, and says why. Both engines on the GPU are measured, and the CPU where there is no
 * GPU or it is slow; the answer is remembered per browser, adapter and versions for a month.
 *
 * @throws BackendUnavailableError if no engine runs in this browser, with every reason.
 * @throws DimoError with code `cancelled` if `signal` says so.
 */
export async function chooseWebEngine(options: ChooseWebEngineOptions = {}): Promise<ChosenEngine> {
  const {
    engines = webEngines,
    memory = browserMemory(),
    remeasure = false,
    measuresSoftware = false,
    signal,
    onProgress,
    ...engineOptions
  } = options;
  const isOnCpu = ({ name }: WebEngineFactory) => name === 'wasm';
  return chooseFastestEngine({
    groups: [engines.filter((factory) => !isOnCpu(factory)), engines.filter(isOnCpu)],
    options: engineOptions,
    fastEnoughMilliseconds,
    memory: memory === false ? undefined : memory,
    key: await answerKey(engines, options),
    remeasure,
    measuresSoftware,
    signal,
    onProgress,
  });
}

/** What the answer depends on, without loading an engine. */
async function answerKey(engines: readonly WebEngineFactory[], options: ChooseWebEngineOptions): Promise<string> {
  const scope = globalThis as {
    readonly navigator?: { readonly userAgent?: string; readonly hardwareConcurrency?: number };
    readonly crossOriginIsolated?: boolean;
  };
  return JSON.stringify({
    version: 1,
    engines: engines.map(({ name }) => name),
    browser: scope.navigator?.userAgent ?? '',
    cores: scope.navigator?.hardwareConcurrency ?? 0,
    isolated: scope.crossOriginIsolated ?? false,
    threads: options.threads ?? 0,
    largestTensorBytes: options.largestTensorBytes ?? 0,
    measuresSoftware: options.measuresSoftware ?? false,
    adapter: await adapterWords(),
  });
}

async function adapterWords(): Promise<string> {
  try {
    const adapter = await browserGpu('auto').requestAdapter(adapterOptions);
    if (!adapter) return 'none';
    const { vendor, architecture, device, description } = adapter.info;
    return [vendor, architecture, device, description].join('/');
  } catch {
    return 'none';
  }
}
