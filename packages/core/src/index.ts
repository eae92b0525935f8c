import './gradients.js';

export * from './engine.js';
export * from './errors.js';
export * from './model.js';
export * from './plugin.js';
export * from './random.js';
export * from './tensors.js';
