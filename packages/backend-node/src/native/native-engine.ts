/**
 * The engines `onnx-native` and `onnx-cuda`: traced graphs on the library of onnxruntime itself, through its C API. State
 * is not copied on the way, JavaScript goes on while it computes, and runs overlap.
 */
import { BackendUnavailableError, type CompileOptions, type Engine, type EngineOptions } from '@dimo/core';
import type { ModelEmitter } from '@dimo/onnx/sessions';
import { firstLine } from '../first-line.js';
import { graphSessionOptions } from '../onnx-session-options.js';
import { installCommand } from '../onnxruntime-package.js';
import { importOptional } from '../optional-package.js';
import { resolveThreads } from '../threads.js';
import { missingLibraries, neededLibraries } from './needed-libraries.js';
import { openOrt, type OrtApi } from './ort-api.js';
import { findOrt, libraryVariable, type OrtFiles } from './ort-files.js';
import { nativeRuntime, type NativeRuntime } from './ort-runtime.js';

/** What the library computes on. */
export type NativeProvider = 'cpu' | 'cuda';

/** Options of `createNativeEngine`. */
export interface NativeEngineOptions extends EngineOptions {
  /** @default 'cpu' */
  readonly provider?: NativeProvider;
  /** Whether state is kept in memory of the provider. @default whether that is another than the CPU's */
  readonly isResident?: boolean;
  /** Options of the CUDA provider, by onnxruntime's names, over those that the engine sets. */
  readonly cuda?: Readonly<Record<string, string>>;
  /** Replaces session options. */
  readonly sessionOptions?: Readonly<Record<string, unknown>>;
  /** @default the tracer of @dimo/onnx */
  readonly emit?: ModelEmitter;
}

const names = { cpu: 'onnx-native', cuda: 'onnx-cuda' } as const;

/** Products in full float32, as everywhere else; memory that grows by what is asked for, and not by powers of two. */
const cudaDefaults = { use_tf32: '0', arena_extend_strategy: 'kSameAsRequested' };

/** Libraries that are open, by file: a library has one environment in a process. */
const opened = new Map<string, OrtApi>();

/**
 * Makes an engine that runs traced graphs on the library of onnxruntime.
 *
 * @throws BackendUnavailableError if koffi or the library is missing, cannot be loaded, or is too old.
 * @throws OptionError if the number of threads is not a positive integer.
 */
export async function createNativeEngine(options: NativeEngineOptions = {}): Promise<Engine> {
  const { provider = 'cpu' } = options;
  const name = names[provider];
  const engineThreads = resolveThreads(options.threads);
  const files = filesFor(name, provider);
  const api = await openLibrary(name, files);
  const { createSessionHost, largeResults, overlappingHost, residenceOn, sessionEngine, tracingEmitter } =
    await import('@dimo/onnx/sessions');
  const isResident = options.isResident ?? provider !== 'cpu';
  const executionProviders =
    provider === 'cpu' ? ['cpu'] : [{ name: 'cuda', device_id: '0', ...cudaDefaults, ...options.cuda }];
  const { copies, sessionOptions } = residenceOn(executionProviders);
  const runtime = nativeRuntime(api, { deviceMemory: provider === 'cpu' ? 'Cpu' : 'Cuda', copy: copies[0]!.model });
  const host = overlappingHost(createSessionHost(runtime, { inPlace: true }));
  const endOnExit = terminatedAtExit(runtime);
  const close = async () => {
    await host.close();
    endOnExit();
  };
  if (isResident)
    try {
      // An arena would keep what a released tree has held.
      const residence = { copies, sessionOptions: { ...sessionOptions, enableCpuMemArena: false } };
      await host.call('reside', { residence });
    } catch (cause) {
      await close();
      throw new BackendUnavailableError(`${name} engine: ${reasonOf(cause, api, files)}`, {
        cause,
        hint: hints[provider],
      });
    }
  const recomputesFrom = provider === 'cpu' ? largeResults : Infinity;
  return sessionEngine({
    info: {
      name,
      versions: { onnxruntime: api.version, koffi: api.koffi.version },
      device: provider === 'cpu' ? `CPU, ${engineThreads} ${engineThreads === 1 ? 'thread' : 'threads'}` : 'CUDA',
    },
    host: { call: host.call, close },
    emit: options.emit ?? tracingEmitter({}, recomputesFrom),
    sessionOptions: (intermediateBytes, { overlapping = 1 }: CompileOptions) => ({
      ...graphSessionOptions({
        executionProviders,
        // A session's threads work for all of its runs; the thread of each run is one more.
        threads: Math.max(1, engineThreads - overlapping + 1),
        intermediateBytes,
        recomputesFrom,
        sharesArena: true,
      }),
      ...options.sessionOptions,
    }),
    isResident,
    ...(provider === 'cpu' ? { parallelRuns: Math.min(engineThreads, poolSize()) } : {}),
  });
}

const hints: Readonly<Record<NativeProvider, string>> = {
  cpu: `run \`${installCommand()}\`, or name a library of onnxruntime with ${libraryVariable}`,
  cuda:
    'on Linux x64 run `ONNXRUNTIME_NODE_INSTALL=cuda12 npm install onnxruntime-node`, or name the folder of another build ' +
    `with ${libraryVariable}; it needs the CUDA (12 or 13) that it was built for and cuDNN 9, in folders that the loader ` +
    'knows or LD_LIBRARY_PATH names',
};

function filesFor(engine: string, provider: NativeProvider): OrtFiles {
  const files = findOrt(provider);
  if (files) return files;
  const named = process.env[libraryVariable];
  const what = provider === 'cpu' ? 'library of onnxruntime' : 'library of onnxruntime with a CUDA provider beside it';
  throw new BackendUnavailableError(
    `${engine} engine: ${named ? `${libraryVariable} names no ${what}: ${named}` : `there is no ${what}`}`,
    { hint: hints[provider] },
  );
}

async function openLibrary(engine: string, { library }: OrtFiles): Promise<OrtApi> {
  const known = opened.get(library);
  if (known) return known;
  const koffi = await importOptional({ name: 'koffi', engine, fix: `run \`${installCommand()}\`` }, async () => {
    const { default: loaded } = await import('koffi');
    return loaded as unknown as typeof import('koffi');
  });
  try {
    if (neededLibraries(library)?.isCut) throw new Error('the file is cut short');
    const api = openOrt(koffi, library);
    opened.set(library, api);
    return api;
  } catch (cause) {
    throw new BackendUnavailableError(`${engine} engine: ${library} cannot be loaded: ${firstLine(cause)}`, {
      cause,
      hint: hints.cpu,
    });
  }
}

/** Calls that libuv makes at the same time, by its reading of the variable: none is one, and a negative number as many as can be. */
function poolSize(): number {
  const text = process.env['UV_THREADPOOL_SIZE'];
  if (text === undefined) return 4;
  const size = Number.parseInt(text, 10) || 1;
  return size < 0 ? 1024 : Math.min(size, 1024);
}

const runtimes = new Set<NativeRuntime>();

function terminateAll(): void {
  for (const runtime of runtimes) runtime.terminate();
}

/** At `process.exit`, Node waits for runs under way: they are told to end. Returns what undoes this. */
function terminatedAtExit(runtime: NativeRuntime): () => void {
  if (runtimes.size === 0) process.on('exit', terminateAll);
  runtimes.add(runtime);
  return () => {
    runtimes.delete(runtime);
    if (runtimes.size === 0) process.off('exit', terminateAll);
  };
}

/** Why the provider does not start; where libraries are missing, all of them by name. */
function reasonOf(cause: unknown, { koffi }: OrtApi, { provider }: OrtFiles): string {
  const missing = provider === undefined ? [] : missingLibraries(provider, (library) => koffi.load(library));
  if (missing.length === 0) return firstLine(cause);
  return `${provider} needs ${missing.join(', ')}, which the loader does not find`;
}
