export { vqModel, type ActivationObserver, type VqModel, type VqModelOptions } from './vqvae/vq-model.js';
export { codebookName, type ResolvedVqModelConfig, type VqModelConfig } from './vqvae/config.js';
