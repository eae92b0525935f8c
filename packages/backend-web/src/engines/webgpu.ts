/** The `webgpu` engine: tfjs' WebGPU backend with the fused kernels. */
import type { Engine } from '@dimo/core';
import { quietly, webgpuBackend, webgpuEngine, type WebgpuBackendPackage } from '@dimo/kernels/eager';
import { openBrowserDevice } from './gpu.js';
import { loadPackage, rethrow } from './load-package.js';
import type { WebEngineOptions } from './options.js';

/**
 * Makes the engine.
 *
 * @throws BackendUnavailableError if there is no WebGPU, no adapter, too small limits, or no package.
 */
export async function createWebgpuEngine(options: WebEngineOptions = {}): Promise<Engine> {
  let version: string | undefined;
  const backend = await webgpuBackend(async () => {
    const opened = await openBrowserDevice('webgpu', ['timestamp-query'], options.largestTensorBytes);
    const loaded = await loadPackage('webgpu', '@tensorflow/tfjs-backend-webgpu', () =>
      quietly(() => import('@tensorflow/tfjs-backend-webgpu').catch(rethrow)),
    );
    version = (loaded as { readonly version_webgpu?: string }).version_webgpu;
    return { ...opened, backend: loaded as unknown as WebgpuBackendPackage };
  });
  return webgpuEngine(backend, { '@tensorflow/tfjs-backend-webgpu': version ?? '4.22.0' });
}
