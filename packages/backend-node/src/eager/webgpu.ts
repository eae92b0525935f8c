/** The `webgpu` engine: tfjs' WebGPU kernels on Dawn, which the npm package `webgpu` brings to Node. */
import { gpuTuning, registerWebgpuKernels, softwareTuning } from '@dimo/backend-web/kernels';
import { BackendUnavailableError, DimoError, eagerEngine, type Engine } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { importOptional, versionOf } from '../optional-package.js';
import { quietly } from '../quiet-import.js';
import { watchDevice, type DeviceHealth } from './device-health.js';

/** The parts of WebGPU used here; the full types come with browsers' libraries. */
interface Adapter {
  readonly info: {
    readonly vendor: string;
    readonly architecture: string;
    readonly device: string;
    readonly description: string;
    readonly isFallbackAdapter?: boolean;
  };
  readonly features: ReadonlySet<string>;
  readonly limits: Readonly<Record<string, number>>;
  requestDevice(descriptor: object): Promise<Device>;
}
interface Device extends EventTarget {
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  destroy(): void;
}
interface Gpu {
  requestAdapter(options?: object): Promise<Adapter | null>;
}

/** Limits that decide how large a tensor may be, how work is split and how much one program does. */
const wantedLimits = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeWorkgroupsPerDimension',
  'maxComputeWorkgroupSizeX',
  'maxComputeInvocationsPerWorkgroup',
];

const driverHint =
  'install a Vulkan driver (on Debian: mesa-vulkan-drivers 23 or newer, or the driver of the GPU), then `vulkaninfo --summary` lists it';

/** A usable GPU. */
interface Opened {
  readonly adapter: Adapter;
  readonly health: DeviceHealth;
}

let opened: Promise<Opened> | undefined;
/** Kept for ever: Dawn must not be torn down while a device of its own may still be at work. */
let dawnInstance: Gpu | undefined;

/**
 * Makes an engine on the first high-performance WebGPU adapter.
 *
 * @throws BackendUnavailableError if a package is missing or there is no adapter.
 */
export async function createWebgpuEngine(): Promise<Engine> {
  // One device per process: tfjs knows its backends by name.
  opened ??= open();
  const current = opened;
  const { adapter, health } = await current.catch((error: unknown) => {
    if (opened === current) opened = undefined;
    throw error;
  });
  const described = describeAdapter(adapter.info);
  registerWebgpuKernels({ tuning: described.isSoftware ? softwareTuning : gpuTuning });
  return health.guard(
    eagerEngine(
      'webgpu',
      {
        name: 'webgpu',
        ...described,
        versions: {
          webgpu: versionOf('webgpu'),
          '@tensorflow/tfjs-backend-webgpu': versionOf('@tensorflow/tfjs-backend-webgpu'),
        },
      },
      { beforeCommit: health.check },
    ),
  );
}

/** True for adapters that emulate a GPU on the CPU: Mesa's llvmpipe (lavapipe), SwiftShader, Microsoft's WARP. */
export function isSoftwareAdapter(info: Adapter['info']): boolean {
  const words = `${info.architecture} ${info.device} ${info.description}`;
  return info.isFallbackAdapter === true || /llvmpipe|lavapipe|swiftshader|basic render|\bwarp\b|software/i.test(words);
}

/** An adapter in words. */
function describeAdapter(info: Adapter['info']): { device: string; isSoftware: boolean } {
  const isSoftware = isSoftwareAdapter(info);
  const description = info.description || info.device || info.vendor || 'unknown adapter';
  return { device: isSoftware ? `${description} (software)` : description, isSoftware };
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

const install = 'run `npm install webgpu @tensorflow/tfjs-backend-webgpu`';
const adapterOptions = { powerPreference: 'high-performance' };

async function loadDawn(): Promise<{ gpu: Gpu; globals: object }> {
  const dawn = await importOptional(
    { name: 'webgpu', engine: 'webgpu', fix: install },
    async () => (await import('webgpu')) as unknown as { create(flags: string[]): Gpu; globals: object },
  );
  dawnInstance ??= dawn.create([]);
  return { gpu: dawnInstance, globals: dawn.globals };
}

async function open(): Promise<Opened> {
  const { gpu, globals } = await loadDawn();
  const adapter = await gpu.requestAdapter(adapterOptions);
  if (!adapter)
    throw new BackendUnavailableError('webgpu engine: there is no WebGPU adapter on this machine', {
      hint: driverHint,
    });
  defineBrowserGlobals(globals, gpu);
  const backends = await importOptional(
    { name: '@tensorflow/tfjs-backend-webgpu', engine: 'webgpu', fix: install },
    async () => {
      const loaded = await quietly(() => import('@tensorflow/tfjs-backend-webgpu'));
      return ('default' in loaded ? loaded.default : loaded) as unknown as {
        WebGPUBackend: new (device: Device, info: Adapter['info']) => tf.KernelBackend;
      };
    },
  );
  let device: Device;
  try {
    device = await adapter.requestDevice({
      requiredFeatures: ['timestamp-query'].filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(wantedLimits.map((limit) => [limit, adapter.limits[limit]!])),
    });
  } catch (cause) {
    throw new BackendUnavailableError(`webgpu engine: the adapter "${adapter.info.description}" gives no device`, {
      cause,
      hint: driverHint,
    });
  }
  // Registered here and not by the package, which keeps its device to itself: nobody would see it being lost.
  removeBackend();
  tf.registerBackend('webgpu', () => new backends.WebGPUBackend(device, adapter.info), 0);
  const health = watchDevice(device, () => {
    opened = undefined;
    removeBackend();
  });
  return { adapter, health };
}

/** What tfjs expects to find as in a browser: `GPUBufferUsage` and its like, and `navigator.gpu`. */
function defineBrowserGlobals(globals: object, gpu: Gpu): void {
  Object.assign(globalThis, globals);
  const scope = globalThis as { navigator?: object }; // Node 20 has none
  if (!scope.navigator) Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
  Object.defineProperty(scope.navigator, 'gpu', { value: gpu, configurable: true });
}

function removeBackend(): void {
  if (tf.findBackendFactory('webgpu')) tf.removeBackend('webgpu');
}

/** For tests: destroys the device, as a driver reset would. */
export async function loseWebgpuDevice(): Promise<void> {
  if (!opened) throw new DimoError('internal', 'no WebGPU device is open');
  (await opened).health.destroy();
}
