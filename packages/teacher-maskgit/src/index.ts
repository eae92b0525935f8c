export { maskTransformer, maskTransformerVocabulary } from './transformer/mask-transformer.js';
export { type MaskTransformerConfig } from './transformer/config.js';
export type { VqganConfig } from './vqgan/config.js';
