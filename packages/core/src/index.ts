import './gradients.js';

export * from './engine.js';
export * from './errors.js';
export * from './model.js';
export * from './ops/index.js';
export * from './plugin.js';
export * from './random.js';
export * from './tensors.js';
export * from './training.js';
export * from './storage/escape-text.js';
export {
  bytesPerElement,
  defaultSafetensorsLimits,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsLimits,
} from './storage/safetensors-format.js';
export * from './storage/safetensors-header.js';
export * from './storage/safetensors-write.js';
export * from './storage/safetensors.js';
