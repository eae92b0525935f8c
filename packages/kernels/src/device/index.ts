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
