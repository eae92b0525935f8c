/** Temporary. */
import { eagerEngine, BackendUnavailableError, type EngineAvailability } from '@dimo/core';
import type { WorkerEngines } from '@dimo/backend-web/worker';
import { registerWebgpuKernels, softwareTuning } from '@dimo/backend-web/kernels';

export const engines: WorkerEngines = {
  names: ['webgpu', 'cpu'],
  async probe(name): Promise<EngineAvailability> {
    return { available: true, info: { name, device: name, versions: {} } };
  },
  async choose(name) {
    if (name === 'cpu') {
      await import('@tensorflow/tfjs-backend-cpu');
      return { engine: eagerEngine('cpu'), explanation: 'engine cpu, as requested' };
    }
    if (name !== 'webgpu' && name !== 'auto') throw new BackendUnavailableError('none');
    await import('@tensorflow/tfjs-backend-webgpu');
    registerWebgpuKernels({ tuning: softwareTuning });
    return { engine: eagerEngine('webgpu'), explanation: 'engine webgpu on a GPU, the fastest that runs here' };
  },
};
