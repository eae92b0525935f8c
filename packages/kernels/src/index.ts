export { measureTuning, type MeasureTuningOptions } from './webgpu/measured-tuning.js';
export { gpuTuning, softwareTuning, type Tuning } from './webgpu/rows.js';
export { kernelNames, registerWebgpuKernels, unregisterWebgpuKernels } from './webgpu/register.js';
