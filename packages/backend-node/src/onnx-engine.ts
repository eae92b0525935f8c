/**
 * The engines `onnx` and `onnx-webgpu`: a pure function is traced once into a graph, which onnxruntime-node runs in a worker
 * thread, on the CPU or on its WebGPU provider. Emitting happens here, sessions and state live there.
 */
import { BackendUnavailableError, type Engine, type EngineOptions } from '@dimo/core';
import type { ModelEmitter, Residence } from '@dimo/onnx/sessions';
import { firstLine } from './first-line.js';
import { neededLibraries } from './native/needed-libraries.js';
import { findOrt } from './native/ort-files.js';
import { onnxProviders, type OnnxProvider, type ProviderDescription } from './onnx-providers.js';
import { graphSessionOptions } from './onnx-session-options.js';
import { hasOnnxruntime, installCommand } from './onnxruntime-package.js';
import { startOnnxWorker, type OnnxWorker } from './onnx-worker-client.js';
import { resolveThreads } from './threads.js';

export type { ModelBytes, ModelEmitter } from '@dimo/onnx/sessions';

/** Options of `createOnnxEngine`. */
export interface OnnxEngineOptions extends EngineOptions {
  /** What onnxruntime computes on; for CUDA see `createNativeEngine`. @default 'cpu' */
  readonly provider?: OnnxProvider;
  /**
   * Replaces session options of onnxruntime-node (`graphOptimizationLevel`, `enableMemPattern`, `enableCpuMemArena`,
   * `enableProfiling`, ...).
   */
  readonly sessionOptions?: Readonly<Record<string, unknown>>;
  /** @default the tracer of @dimo/onnx */
  readonly emit?: ModelEmitter;
}

/**
 * Makes an engine that runs traced graphs on onnxruntime.
 *
 * @throws BackendUnavailableError if onnxruntime-node is missing, cannot be loaded, or has no such device here.
 * @throws OptionError if the number of threads is not a positive integer.
 */
export async function createOnnxEngine(options: OnnxEngineOptions = {}): Promise<Engine> {
  const threads = resolveThreads(options.threads);
  const provider = onnxProviders[options.provider ?? 'cpu'];
  const { name } = provider;
  requirePackage(name);
  // Loaded while the worker loads onnxruntime.
  const loading = import('@dimo/onnx/sessions');
  loading.catch(() => {}); // reported below
  const worker = startOnnxWorker(name);
  const isResident = provider.isResident;
  const residence = isResident ? (await loading).residenceOn(provider.executionProviders) : undefined;
  const { versions } = await loadRuntime(worker, provider, residence);
  const device = await provider.describe(threads);
  const { largeResults, sessionEngine, tracingEmitter, webgpuLowering } = await loading;
  const recomputesFrom = provider.backend === 'cpu' ? largeResults : Infinity;
  const { executionProviders } = provider;
  const sessionOptions = (intermediateBytes: number) => ({
    ...graphSessionOptions({ executionProviders, threads, intermediateBytes, recomputesFrom }),
    ...options.sessionOptions,
  });

  return sessionEngine({
    info: { name, versions, ...device },
    host: worker,
    emit: options.emit ?? tracingEmitter(provider.backend === 'webgpu' ? webgpuLowering : {}, recomputesFrom),
    sessionOptions,
    isResident,
  });
}

/** Fails early, and without a thread, when the package is not there, or only a part of it. */
function requirePackage(engine: string): void {
  if (hasOnnxruntime()) {
    const { library } = findOrt('cpu', {}) ?? {};
    // Loading it would end the process.
    if (library === undefined || !neededLibraries(library)?.isCut) return;
    throw new BackendUnavailableError(`${engine} engine: ${library} is cut short`, {
      hint: 'install onnxruntime-node again',
    });
  }
  throw new BackendUnavailableError(`${engine} engine: the package onnxruntime-node is not installed`, {
    hint: `run \`${installCommand()}\``,
  });
}

async function loadRuntime(
  worker: OnnxWorker,
  provider: ProviderDescription,
  residence: Residence | undefined,
): Promise<{ readonly versions: Readonly<Record<string, string>> }> {
  const { name, backend, hint } = provider;
  const fail = async (message: string, options: { cause?: unknown; hint: string }): Promise<never> => {
    await worker.close().catch(() => {});
    throw new BackendUnavailableError(`${name} engine: ${message}`, options);
  };
  let loaded;
  try {
    loaded = await worker.call('load', { inPlace: !residence });
  } catch (cause) {
    const reason = firstLine(cause);
    const hasNoBuild = /Cannot find module .*onnxruntime_binding\.node/.test(reason);
    return fail(
      hasNoBuild
        ? `onnxruntime-node has no build for ${process.platform} ${process.arch}`
        : `onnxruntime-node cannot be loaded: ${reason}`,
      {
        cause,
        hint: `${hasNoBuild ? '' : 'reinstall it for this platform, or '}use the engine wasm, which runs everywhere`,
      },
    );
  }
  if (!loaded.backends.includes(backend))
    return fail(`this onnxruntime-node has no ${backend} provider, only ${loaded.backends.join(', ')}`, { hint });
  if (residence)
    try {
      await worker.call('reside', { residence });
    } catch (cause) {
      return fail(`onnxruntime's ${backend} provider does not start: ${firstLine(cause)}`, { cause, hint });
    }
  return loaded;
}
