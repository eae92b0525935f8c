/** What onnxruntime-node can compute on, and what each needs. */
import type { EngineInfo } from '@dimo/core';

/** A provider of onnxruntime. */
export type OnnxProvider = 'cpu' | 'webgpu';

/** Facts about a provider. */
export interface ProviderDescription {
  /** Name of the engine on it. */
  readonly name: string;
  /** Name that onnxruntime lists it under. */
  readonly backend: string;
  readonly executionProviders: readonly string[];
  /** Whether state is kept in the provider's own buffers between runs. */
  readonly isResident: boolean;
  /** What makes it available. */
  readonly hint: string;
  readonly describe: (threads: number) => Promise<Pick<EngineInfo, 'device' | 'isSoftware'>>;
}

/** The providers. */
export const onnxProviders: Readonly<Record<OnnxProvider, ProviderDescription>> = {
  cpu: {
    name: 'onnx',
    backend: 'cpu',
    executionProviders: ['cpu'],
    isResident: false,
    hint: 'reinstall onnxruntime-node',
    describe: async (threads) => ({ device: `CPU, ${threads} ${threads === 1 ? 'thread' : 'threads'}` }),
  },
  webgpu: {
    name: 'onnx-webgpu',
    backend: 'webgpu',
    executionProviders: ['webgpu'],
    isResident: true,
    hint: 'install a Vulkan, Metal or Direct3D 12 driver (on Debian: mesa-vulkan-drivers 23 or newer, or the driver of the GPU), or use the engine onnx',
    async describe() {
      // onnxruntime does not say which adapter it took; Dawn, where it is installed, is asked for the same one.
      const { findAdapter } = await import('./eager/webgpu.js');
      const found = await findAdapter().catch(() => undefined);
      return found ?? { device: "the first WebGPU adapter, as onnxruntime's" };
    },
  },
};
