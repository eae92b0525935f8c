export * from './engines/index.js';
export { kernelNames, registerWebgpuKernels, unregisterWebgpuKernels } from './kernels/index.js';
export * from './weights/index.js';
