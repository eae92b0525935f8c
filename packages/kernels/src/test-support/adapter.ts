/** For tests: tfjs' WebGPU backend in Node on whatever adapter the machine has (Dawn, from the npm package `webgpu`). */
import * as tf from '@tensorflow/tfjs-core';
import { openDevice, type Webgpu } from '../device/adapter.js';
import type { WebgpuBackendPackage } from '../eager/webgpu-engine.js';

/** Kept: Dawn must not be torn down while its device is in use. */
let gpu: Webgpu | undefined;

/** Registers and selects the backend `webgpu`; the reason if that is impossible. */
export async function startTestAdapter(): Promise<string | undefined> {
  try {
    const dawn = (await import('webgpu')) as unknown as { create(flags: string[]): Webgpu; globals: object };
    gpu = dawn.create([]);
    const { adapter, device } = await openDevice(gpu, { engine: 'test', hint: '', features: [] });
    Object.assign(globalThis, dawn.globals);
    const scope = globalThis as { navigator?: object };
    if (!scope.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
    Object.defineProperty(scope.navigator, 'gpu', { value: gpu, configurable: true });
    const loaded = await import('@tensorflow/tfjs-backend-webgpu');
    const { WebGPUBackend } = ('default' in loaded ? loaded.default : loaded) as unknown as WebgpuBackendPackage;
    device.addEventListener('uncapturederror', (event) => {
      errors.push(String((event as Event & { error?: { message?: string } }).error?.message));
    });
    noteCompilations(device as unknown as Compiler);
    if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
    tf.registerBackend('webgpu', () => new WebGPUBackend(device, adapter.info));
    await tf.setBackend('webgpu');
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message.split('\n')[0] : String(error);
  }
}

interface Compiler {
  createShaderModule(descriptor: { readonly code: string; readonly label?: string }): object;
}

const compiled: string[] = [];

function noteCompilations(device: Compiler): void {
  const compile = device.createShaderModule.bind(device);
  device.createShaderModule = (descriptor) => {
    if (descriptor.label?.startsWith('Dimo')) compiled.push(descriptor.code);
    return compile(descriptor);
  };
}

/** The texts of our programs that have been compiled, in order. */
export function compiledPrograms(): readonly string[] {
  return compiled;
}

const errors: string[] = [];

/** What the GPU has complained of since the last call. */
export function gpuErrors(): string[] {
  return errors.splice(0);
}
