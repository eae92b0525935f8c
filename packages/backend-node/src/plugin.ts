/** The engines for Node as a plugin. Nothing is loaded before an engine is probed or made. */
import {
  definePlugin,
  DimoError,
  type Engine,
  type EngineAvailability,
  type EngineFactory,
  type EngineOptions,
} from '@dimo/core';

/** Names of the engines of this package. */
export type NodeEngineName =
  'cuda' | 'onnx-cuda' | 'webgpu' | 'onnx-webgpu' | 'onnx' | 'onnx-native' | 'wasm' | 'tensorflow' | 'cpu';

const makers: Readonly<Record<NodeEngineName, (options?: EngineOptions) => Promise<Engine>>> = {
  cuda: async () => (await import('./eager/tensorflow.js')).createCudaEngine(),
  'onnx-cuda': async (options) =>
    (await import('./native/native-engine.js')).createNativeEngine({ ...options, provider: 'cuda' }),
  webgpu: async () => (await import('./eager/webgpu.js')).createWebgpuEngine(),
  'onnx-webgpu': async (options) =>
    (await import('./onnx-engine.js')).createOnnxEngine({ ...options, provider: 'webgpu' }),
  onnx: async (options) => (await import('./onnx-engine.js')).createOnnxEngine(options),
  'onnx-native': async (options) => (await import('./native/native-engine.js')).createNativeEngine(options),
  wasm: async () => (await import('./eager/wasm.js')).createWasmEngine(),
  tensorflow: async () => (await import('./eager/tensorflow.js')).createTensorFlowEngine(),
  cpu: async () => (await import('./eager/cpu.js')).createCpuEngine(),
};

/** Factories of all engines for Node, in the order in which `probeEngines` lists them. */
export const nodeEngines: readonly EngineFactory[] = Object.entries(makers).map(([name, create]) => ({
  name,
  create,
  probe: () => probe(create),
}));

/** The only sure answer to "does it run here?" is to make one. */
async function probe(create: () => Promise<Engine>): Promise<EngineAvailability> {
  try {
    const engine = await create();
    await engine.dispose();
    return { available: true, info: engine.info };
  } catch (error) {
    return describeFailure(error);
  }
}

/** An engine's failure to start, as `dimo doctor` shows it. */
export function describeFailure(error: unknown): Extract<EngineAvailability, { available: false }> {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
  const fix = DimoError.isInstance(error) ? error.hint : undefined;
  return { available: false, reason, fix: fix ?? 'none known: please report this' };
}

/** `@dimo/backend-node` as a plugin: engines `onnx` and `onnx-native` (CPU), `onnx-webgpu`, `onnx-cuda`, `wasm`, `cpu`, `webgpu`,
 * `tensorflow` and `cuda`. */
export const nodeBackendPlugin = definePlugin({
  contract: 2,
  name: '@dimo/backend-node',
  engines: nodeEngines,
});
