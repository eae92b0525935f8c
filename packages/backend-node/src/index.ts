export { createOnnxEngine, type ModelEmitter, type OnnxEngineOptions } from './onnx-engine.js';
export * from './storage/index.js';
export { resolveThreads } from './threads.js';
