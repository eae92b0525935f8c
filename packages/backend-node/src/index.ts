export { chooseEngine, type ChooseEngineOptions, type ChosenEngine } from './choose-engine.js';
export * from './hub/index.js';
export { engineMemoryFile, fileEngineMemory } from './engine-memory.js';
export { createOnnxEngine, type ModelBytes, type ModelEmitter, type OnnxEngineOptions } from './onnx-engine.js';
export { openOnnxModel, type OnnxModel, type OnnxModelOptions, type OnnxPort, type OnnxTensor } from './onnx-model.js';
export { createNativeEngine, type NativeEngineOptions, type NativeProvider } from './native/native-engine.js';
export { nodeBackendPlugin, nodeEngines, type NodeEngineName } from './plugin.js';
export {
  elementwiseRate,
  matrixProductRate,
  probeEngines,
  type EngineReport,
  type ProbeEnginesOptions,
} from './probe-engines.js';
export * from './storage/index.js';
export { resolveThreads } from './threads.js';
