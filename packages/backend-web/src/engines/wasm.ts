/** The `wasm` engine: traced graphs on onnxruntime-web's WebAssembly; without that package, tfjs' WebAssembly kernels. */
import { BackendUnavailableError, DimoError, eagerEngine, type Engine } from '@dimo/core';
import { quietly, registerWasmKernels } from '@dimo/kernels/eager';
import { loadPackage, rethrow } from './load-package.js';
import { loadOnnxruntime, startFailure } from './onnxruntime.js';
import type { WebEngineOptions } from './options.js';

/**
 * Makes the engine.
 *
 * @throws BackendUnavailableError if neither package works here.
 */
export async function createWasmEngine(options: WebEngineOptions = {}): Promise<Engine> {
  try {
    return await createOnnxWasmEngine(options);
  } catch (first) {
    if (!isUnavailable(first)) throw first;
    try {
      return await createTfjsWasmEngine(options);
    } catch (second) {
      if (!isUnavailable(second)) throw second;
      throw new BackendUnavailableError(`${first.message}; ${second.message}`, { cause: first, hint: first.hint });
    }
  }
}

function isUnavailable(error: unknown): error is DimoError {
  return DimoError.isInstance(error) && error.code === 'backend-unavailable';
}

/** On onnxruntime-web. */
export async function createOnnxWasmEngine(options: WebEngineOptions = {}): Promise<Engine> {
  const name = 'wasm';
  const [ort, sessions] = await Promise.all([
    loadOnnxruntime('wasm', name, options),
    loadPackage(name, '@dimo/onnx', () => import('@dimo/onnx/sessions')),
  ]);
  const host = sessions.localHost(sessions.createSessionHost(ort.runtime), ort.turns);
  const engine = sessions.sessionEngine({
    info: {
      name,
      device: `CPU, WebAssembly, ${ort.threads} ${ort.threads === 1 ? 'thread' : 'threads'}`,
      versions: { 'onnxruntime-web': ort.version },
    },
    host,
    emit: sessions.tracingEmitter(),
    sessionOptions: {
      executionProviders: ['wasm'],
      graphOptimizationLevel: 'all',
      enableMemPattern: false,
      logSeverityLevel: 4,
    },
    isResident: false,
  });
  // The only sure answer to "does it run here?" is to run something.
  try {
    const probe = await engine.compile(({ x }) => ({ outputs: { x: x! } }), {
      state: { x: { dtype: 'float32', shape: [1] } },
      inputs: {},
    });
    await probe.dispose();
  } catch (cause) {
    throw startFailure(name, cause);
  }
  return engine;
}

/** On tfjs, the last resort: no graph, one operation after the other. */
export async function createTfjsWasmEngine(options: WebEngineOptions = {}): Promise<Engine> {
  const packageName = '@tensorflow/tfjs-backend-wasm';
  const wasm = await loadPackage('wasm', packageName, () =>
    quietly(() => import('@tensorflow/tfjs-backend-wasm').catch(rethrow)),
  );
  if (options.tfjsWasmFiles !== undefined)
    try {
      wasm.setWasmPaths(options.tfjsWasmFiles);
    } catch {
      // Initialized before, by another engine: the paths are settled.
    }
  registerWasmKernels();
  const engine = eagerEngine('wasm', {
    name: 'wasm',
    device: 'CPU, WebAssembly (tfjs)',
    versions: { [packageName]: wasm.version_wasm },
  });
  try {
    await (await engine.upload({ x: { dtype: 'float32', shape: [1], data: new Float32Array(1) } })).dispose();
  } catch (cause) {
    throw new BackendUnavailableError("wasm engine: tfjs' WebAssembly does not start", {
      cause,
      hint: 'serve the files of @tensorflow/tfjs-backend-wasm/wasm-out and say where in `tfjsWasmFiles`',
    });
  }
  return engine;
}
