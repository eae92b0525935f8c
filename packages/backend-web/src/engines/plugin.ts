/** The engines for browsers as a plugin. Nothing is loaded before an engine is probed or made. */
import {
  definePlugin,
  DimoError,
  OptionError,
  type Engine,
  type EngineAvailability,
  type EngineFactory,
} from '@dimo/core';
import type { WebEngineName, WebEngineOptions } from './options.js';

const makers: Readonly<Record<WebEngineName, (options?: WebEngineOptions) => Promise<Engine>>> = {
  webgpu: async (options) => (await import('./webgpu.js')).createWebgpuEngine(options),
  'onnx-webgpu': async (options) => (await import('./onnx-webgpu.js')).createOnnxWebgpuEngine(options),
  wasm: async (options) => (await import('./wasm.js')).createWasmEngine(options),
};

/** A factory whose engines can be told where a page keeps its files. */
export interface WebEngineFactory extends EngineFactory {
  readonly name: WebEngineName;
  probe(options?: WebEngineOptions): Promise<EngineAvailability>;
  create(options?: WebEngineOptions): Promise<Engine>;
}

/** Factories of all engines for browsers. */
export const webEngines: readonly WebEngineFactory[] = Object.entries(makers).map(([name, create]) => ({
  name: name as WebEngineName,
  create,
  probe: (options) => probe(create, options),
}));

/**
 * Makes an engine by name.
 *
 * @throws OptionError for an unknown name.
 * @throws BackendUnavailableError if this browser or page cannot run it.
 */
export async function createWebEngine(name: WebEngineName, options: WebEngineOptions = {}): Promise<Engine> {
  const factory = webEngines.find((candidate) => candidate.name === name);
  if (!factory)
    throw new OptionError(
      `engine: expected ${webEngines.map((candidate) => candidate.name).join(', ')}; got ${JSON.stringify(name)}`,
    );
  return factory.create(options);
}

/** The only sure answer to "does it run here?" is to make one. */
async function probe(
  create: (options?: WebEngineOptions) => Promise<Engine>,
  options?: WebEngineOptions,
): Promise<EngineAvailability> {
  try {
    const engine = await create(options);
    await engine.dispose();
    return { available: true, info: engine.info };
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
    const fix = DimoError.isInstance(error) ? error.hint : undefined;
    return { available: false, reason, fix: fix ?? 'none known: please report this' };
  }
}

/** `@dimo/backend-web` as a plugin: engines `webgpu`, `onnx-webgpu` and `wasm`. */
export const webBackendPlugin = definePlugin({
  contract: 2,
  name: '@dimo/backend-web',
  engines: webEngines,
});
