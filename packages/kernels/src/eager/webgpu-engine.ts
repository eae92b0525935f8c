/** The `webgpu` engine: tfjs' WebGPU backend with the fused kernels, in browsers and, through Dawn, in Node. */
import { eagerEngine, type Engine } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { measureTuning } from '../webgpu/measured-tuning.js';
import { registerWebgpuKernels } from '../webgpu/register.js';
import { gpuTuning, softwareTuning } from '../webgpu/rows.js';
import {
  checkedEngine,
  describeAdapter,
  tensorSizeCheck,
  type OpenedDevice,
  type WebgpuAdapterInfo,
  type WebgpuDevice,
} from '../device/adapter.js';
import { watchDevice, type DeviceHealth } from '../device/device-health.js';

/** What is used of @tensorflow/tfjs-backend-webgpu. */
export interface WebgpuBackendPackage {
  readonly WebGPUBackend: new (device: WebgpuDevice, info: WebgpuAdapterInfo) => tf.KernelBackend;
}

/** A device in tfjs' hands. */
export interface WebgpuBackend extends OpenedDevice {
  readonly health: DeviceHealth;
}

let registered: Promise<WebgpuBackend> | undefined;

/**
 * The device that tfjs' backend `webgpu` computes on: one per thread, since tfjs knows its backends by name. A lost one
 * gives place to a new one.
 *
 * @param open - opens a device, and loads the package of the backend (which `quietly` keeps from complaining).
 */
export async function webgpuBackend(
  open: () => Promise<OpenedDevice & { readonly backend: WebgpuBackendPackage }>,
): Promise<WebgpuBackend> {
  registered ??= register(open);
  const current = registered;
  return current.catch((error: unknown) => {
    if (registered === current) registered = undefined;
    throw error;
  });
}

async function register(
  open: () => Promise<OpenedDevice & { readonly backend: WebgpuBackendPackage }>,
): Promise<WebgpuBackend> {
  const { adapter, device, backend } = await open();
  // Registered here and not by the package, which keeps its device to itself: nobody would see it being lost.
  removeBackend();
  tf.registerBackend('webgpu', () => new backend.WebGPUBackend(device, adapter.info), 0);
  const health = watchDevice(device, () => {
    registered = undefined;
    removeBackend();
  });
  return { adapter, device, health };
}

/** An engine on that device, with the kernels shaped for it. */
export async function webgpuEngine(
  { adapter, device, health }: WebgpuBackend,
  versions: Readonly<Record<string, string>>,
): Promise<Engine> {
  const described = describeAdapter(adapter.info);
  // A device that fails here says so at its first real use.
  const tuning = described.isSoftware ? softwareTuning : await measureTuning().catch(() => gpuTuning);
  registerWebgpuKernels({ tuning });
  const info = { name: 'webgpu', ...described, versions };
  const engine = eagerEngine('webgpu', info, { beforeCommit: health.check });
  return checkedEngine(health.guard(engine), tensorSizeCheck('webgpu', device));
}

/** For tests: destroys the device, as a driver reset would. */
export async function loseWebgpuDevice(): Promise<void> {
  (await registered)?.health.destroy();
}

function removeBackend(): void {
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
}
