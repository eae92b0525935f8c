export { tokenizerConfigKeys, type ConfigKey } from './config-keys.js';
export { defineTokenizer, tokenizerConfigFor, type DefinedTokenizer, type TokenizerConfig } from './any-tokenizer.js';
export { encodeImages, type EncodeImagesOptions } from './encode-images.js';
export { patchVqTokenizer, type PatchVqConfig } from './patch-vq.js';
export {
  codebookName,
  createTokenizer,
  type Reconstruction,
  type Tokenizer,
  type TokenizerParts,
} from './tokenizer.js';
export { tokenizerTrainingProgram, tokenizerTrainingResult, type TrainingImages } from './training.js';
export {
  resolveTokenizerTraining,
  type ResolvedTokenizerTraining,
  type TokenizerTrainingOptions,
} from './training-options.js';
export type { VqganConfig, VqganNetworkConfig } from './vqgan/config.js';
export { vqganTokenizer } from './vqgan/vqgan.js';
export {
  readTokenizer,
  streamTokenizerFiles,
  tokenizerFileNames,
  tokenizerFiles,
  tokenizerPart,
  vqganCheckpoint,
  type LoadedTokenizer,
} from './tokenizer-files.js';
