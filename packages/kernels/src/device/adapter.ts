/** WebGPU adapters and devices, in browsers and, through Dawn, in Node. */
import {
  BackendUnavailableError,
  checkHostTree,
  checkSpecTree,
  escapeText,
  type Engine,
  type SpecTree,
} from '@dimo/core';

/** The parts of `GPUAdapter` used here; the full types come with browsers' libraries, which Node has not. */
export interface WebgpuAdapter {
  readonly info: WebgpuAdapterInfo;
  readonly features: { has(name: string): boolean };
  readonly limits: object;
  requestDevice(descriptor: object): Promise<WebgpuDevice>;
}

/** `GPUAdapterInfo`. */
export interface WebgpuAdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

/** The parts of `GPUDevice` used here. */
export interface WebgpuDevice extends EventTarget {
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  readonly limits: object;
  destroy(): void;
}

/** The parts of `GPU` used here. */
export interface Webgpu {
  requestAdapter(options?: object): Promise<WebgpuAdapter | null>;
}

/** True for adapters that emulate a GPU on the CPU: Mesa's llvmpipe (lavapipe), SwiftShader, Microsoft's WARP. */
export function isSoftwareAdapter(info: WebgpuAdapterInfo): boolean {
  const words = `${info.architecture} ${info.device} ${info.description}`;
  return info.isFallbackAdapter === true || /llvmpipe|lavapipe|swiftshader|basic render|\bwarp\b|software/i.test(words);
}

/** An adapter in words. */
export function describeAdapter(info: WebgpuAdapterInfo): { device: string; isSoftware: boolean } {
  const isSoftware = isSoftwareAdapter(info);
  // Browsers tell less than drivers do: often no more than `nvidia` and `ampere`.
  const described = info.description || info.device || [info.vendor, info.architecture].filter(Boolean).join(' ');
  const name = described || 'unknown adapter';
  return { device: isSoftware ? `${name} (software)` : name, isSoftware };
}

/** What `openDevice` needs. */
export interface OpenDeviceOptions {
  /** Name of the engine, for messages. */
  readonly engine: string;
  /** What helps where there is no adapter, or one that gives no device. */
  readonly hint: string;
  readonly features: readonly string[];
  /** Bytes of the largest tensor that there will be, if known. */
  readonly largestTensorBytes?: number | undefined;
}

/** A device and what it is on. */
export interface OpenedDevice {
  readonly adapter: WebgpuAdapter;
  readonly device: WebgpuDevice;
}

/** Of several GPUs, the fast one. */
export const adapterOptions = { powerPreference: 'high-performance' };

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

/**
 * A device of the first high-performance adapter, with all that the adapter allows.
 *
 * @throws BackendUnavailableError if there is no adapter, it gives no device, or its limits are too small.
 */
export async function openDevice(gpu: Webgpu, options: OpenDeviceOptions): Promise<OpenedDevice> {
  const { engine, hint, features, largestTensorBytes } = options;
  const adapter = await gpu.requestAdapter(adapterOptions);
  if (!adapter) throw new BackendUnavailableError(`${engine} engine: there is no WebGPU adapter here`, { hint });
  const { device: name } = describeAdapter(adapter.info);
  if (largestTensorBytes !== undefined && largestTensorBytes > largestTensor(adapter.limits))
    throw tooLarge(engine, `tensors of ${largestTensorBytes} bytes`, largestTensor(adapter.limits));
  try {
    const device = await adapter.requestDevice({
      requiredFeatures: features.filter((feature) => adapter.features.has(feature)),
      requiredLimits: Object.fromEntries(
        wantedLimits.flatMap((limit) => {
          const value = limitOf(adapter.limits, limit);
          return value === undefined ? [] : [[limit, value]];
        }),
      ),
    });
    return { adapter, device };
  } catch (cause) {
    throw new BackendUnavailableError(`${engine} engine: the adapter "${escapeText(name)}" gives no device`, {
      cause,
      hint,
    });
  }
}

/** Refuses tensors that no buffer of the device can hold. */
export function tensorSizeCheck(engine: string, device: WebgpuDevice): (where: string, specs: SpecTree) => void {
  const limit = largestTensor(device.limits);
  return (where, specs) => {
    for (const [name, { shape, dtype }] of Object.entries(specs)) {
      // Booleans take four bytes on the device.
      const bytes = 4 * shape.reduce((product, length) => product * length, 1);
      if (bytes > limit)
        throw tooLarge(
          engine,
          `${where}: "${escapeText(name)}" (${dtype} [${shape.join(', ')}], ${bytes} bytes)`,
          limit,
        );
    }
  };
}

/** An engine that refuses what `check` refuses, before it reaches the device. */
export function checkedEngine(engine: Engine, check: (where: string, specs: SpecTree) => void): Engine {
  return {
    get info() {
      return engine.info;
    },
    get makesRandomNumbers() {
      return engine.makesRandomNumbers ?? false;
    },
    async upload(values, options) {
      checkHostTree('upload', values);
      check('upload', values);
      return engine.upload(values, options);
    },
    async compile(fn, signature) {
      checkSpecTree('compile: state', signature.state);
      checkSpecTree('compile: inputs', signature.inputs);
      check('compile', { ...signature.state, ...signature.inputs });
      return engine.compile(fn, signature);
    },
    dispose: () => engine.dispose(),
  };
}

function largestTensor(limits: object): number {
  return Math.min(
    limitOf(limits, 'maxBufferSize') ?? Infinity,
    limitOf(limits, 'maxStorageBufferBindingSize') ?? Infinity,
  );
}

function limitOf(limits: object, name: string): number | undefined {
  return (limits as Readonly<Record<string, number | undefined>>)[name];
}

function tooLarge(engine: string, what: string, limit: number): BackendUnavailableError {
  return new BackendUnavailableError(
    `${engine} engine: ${what} do not fit into this GPU's largest buffer, ${limit} bytes`,
    { hint: 'use a smaller model or batch, or an engine on the CPU' },
  );
}
