/** The `webgpu` engine: tfjs' WebGPU kernels on Dawn, which the npm package `webgpu` brings to Node. */
import type { Engine } from '@dimo/core';
import { adapterOptions, describeAdapter, openDevice, type Webgpu } from '@dimo/kernels/device';
import { quietly, webgpuBackend, webgpuEngine, type WebgpuBackendPackage } from '@dimo/kernels/eager';
import { importOptional, versionOf } from '../optional-package.js';

const install = 'run `npm install webgpu @tensorflow/tfjs-backend-webgpu`';
const driverHint =
  'install a Vulkan driver (on Debian: mesa-vulkan-drivers 23 or newer, or the driver of the GPU), then `vulkaninfo --summary` lists it';

/** Kept for ever: Dawn must not be torn down while a device of its own may still be at work. */
let dawnInstance: Webgpu | undefined;

/**
 * Makes an engine on the first high-performance WebGPU adapter.
 *
 * @throws BackendUnavailableError if a package is missing or there is no adapter.
 */
export async function createWebgpuEngine(): Promise<Engine> {
  const backend = await webgpuBackend(async () => {
    const { gpu, globals } = await loadDawn();
    const opened = await openDevice(gpu, { engine: 'webgpu', hint: driverHint, features: ['timestamp-query'] });
    defineBrowserGlobals(globals, gpu);
    return { ...opened, backend: await loadBackend() };
  });
  return webgpuEngine(backend, {
    webgpu: versionOf('webgpu'),
    '@tensorflow/tfjs-backend-webgpu': versionOf('@tensorflow/tfjs-backend-webgpu'),
  });
}

/**
 * The adapter that engines on WebGPU get, in words; undefined if there is none.
 *
 * @throws BackendUnavailableError if the package `webgpu` is missing.
 */
export async function findAdapter(): Promise<{ device: string; isSoftware: boolean } | undefined> {
  const { gpu } = await loadDawn();
  const adapter = await gpu.requestAdapter(adapterOptions);
  return adapter ? describeAdapter(adapter.info) : undefined;
}

async function loadDawn(): Promise<{ gpu: Webgpu; globals: object }> {
  const dawn = await importOptional(
    { name: 'webgpu', engine: 'webgpu', fix: install },
    async () => (await import('webgpu')) as unknown as { create(flags: string[]): Webgpu; globals: object },
  );
  dawnInstance ??= dawn.create([]);
  return { gpu: dawnInstance, globals: dawn.globals };
}

function loadBackend(): Promise<WebgpuBackendPackage> {
  const optional = { name: '@tensorflow/tfjs-backend-webgpu', engine: 'webgpu', fix: install };
  return importOptional(optional, async () => {
    const loaded = await quietly(() => import('@tensorflow/tfjs-backend-webgpu'));
    return ('default' in loaded ? loaded.default : loaded) as unknown as WebgpuBackendPackage;
  });
}

/** What tfjs expects to find as in a browser: `GPUBufferUsage` and its like, and `navigator.gpu`. */
function defineBrowserGlobals(globals: object, gpu: Webgpu): void {
  Object.assign(globalThis, globals);
  const scope = globalThis as { navigator?: object }; // Node 20 has none
  if (!scope.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(scope.navigator, 'gpu', { value: gpu, configurable: true });
}
