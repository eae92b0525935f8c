export {
  adapterOptions,
  checkedEngine,
  describeAdapter,
  isSoftwareAdapter,
  openDevice,
  tensorSizeCheck,
  type OpenDeviceOptions,
  type OpenedDevice,
  type Webgpu,
  type WebgpuAdapter,
  type WebgpuAdapterInfo,
  type WebgpuDevice,
} from './adapter.js';
export { watchDevice, type DeviceHealth, type WatchedDevice } from './device-health.js';
export { quietly } from './quiet-import.js';
export { registerWasmKernels } from './wasm-kernels.js';
export {
  loseWebgpuDevice,
  webgpuBackend,
  webgpuEngine,
  type WebgpuBackend,
  type WebgpuBackendPackage,
} from './webgpu-engine.js';
