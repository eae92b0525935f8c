export { measureTuning, type MeasureTuningOptions } from './measured-tuning.js';
export { gpuTuning, softwareTuning, type Tuning } from './rows.js';
export { kernelNames, registerWebgpuKernels, unregisterWebgpuKernels } from './register.js';
