export { kernelNames, registerWebgpuKernels, unregisterWebgpuKernels } from './kernels/index.js';
