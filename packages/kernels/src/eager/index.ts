export { quietly } from './quiet-import.js';
export { registerWasmKernels } from './wasm-kernels.js';
export {
  loseWebgpuDevice,
  webgpuBackend,
  webgpuEngine,
  type WebgpuBackend,
  type WebgpuBackendPackage,
} from './webgpu-engine.js';
