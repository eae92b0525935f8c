/** The `onnx-webgpu` engine: traced graphs on onnxruntime-web's WebGPU provider, state resident on the GPU. */
import type { Engine } from '@dimo/core';
import { describeAdapter, tensorSizeCheck, watchDevice } from '@dimo/kernels/device';
import { openBrowserDevice } from './gpu.js';
import { loadPackage } from './load-package.js';
import { loadOnnxruntime, startFailure } from './onnxruntime.js';
import type { WebEngineOptions } from './options.js';

/**
 * Makes the engine, on a device of its own.
 *
 * @throws BackendUnavailableError if there is no WebGPU, no adapter, too small limits, or onnxruntime-web does not load.
 */
export async function createOnnxWebgpuEngine(options: WebEngineOptions = {}): Promise<Engine> {
  const name = 'onnx-webgpu';
  // What onnxruntime makes use of where it is there.
  const features = ['shader-f16', 'subgroups', 'timestamp-query'];
  const { adapter, device } = await openBrowserDevice(name, features, options.largestTensorBytes);
  try {
    const [ort, sessions] = await Promise.all([
      loadOnnxruntime('webgpu', name, options),
      loadPackage(name, '@dimo/onnx', () => import('@dimo/onnx/sessions')),
    ]);
    const health = watchDevice(device, () => {}, name);
    const host = sessions.localHost(sessions.createSessionHost(ort.runtime, { beforeCommit: health.check }), ort.turns);
    const executionProviders = [{ name: 'webgpu', device }];
    await host.call('reside', { residence: sessions.residenceOn(executionProviders) }).catch((cause: unknown) => {
      throw startFailure(name, cause);
    });
    const engine = health.guard(
      sessions.sessionEngine({
        info: { name, ...describeAdapter(adapter.info), versions: { 'onnxruntime-web': ort.version } },
        host,
        emit: sessions.tracingEmitter(sessions.webgpuLowering),
        sessionOptions: {
          executionProviders,
          graphOptimizationLevel: 'all',
          enableMemPattern: false,
          logSeverityLevel: 4,
        },
        isResident: true,
        checkSpecs: tensorSizeCheck(name, device),
      }),
    );
    return {
      ...engine,
      async dispose() {
        await engine.dispose();
        device.destroy();
      },
    };
  } catch (error) {
    device.destroy();
    throw error;
  }
}
