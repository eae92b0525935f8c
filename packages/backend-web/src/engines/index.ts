export { chooseWebEngine, type ChooseWebEngineOptions } from './choose.js';
export { browserMemory } from './memory.js';
export type { OnnxruntimeFiles, WebEngineName, WebEngineOptions } from './options.js';
export { createWebEngine, webBackendPlugin, webEngines, type WebEngineFactory } from './plugin.js';
