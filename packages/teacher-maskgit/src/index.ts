export { classConditions, type ClassConditionsOptions } from './class-conditions.js';
export {
  readTeacher,
  readTokenizer,
  streamTokenizerFiles,
  teacherFileNames,
  teacherFiles,
  tokenizerFiles,
  type LoadedTokenizer,
  type TeacherFileOptions,
} from './files.js';
export { imagenet256Config } from './imagenet.js';
export { maskgitPlugin, maskgitTeacher } from './plugin.js';
export { defineMaskgit, type MaskgitConfig, type MaskgitDefinition } from './teacher-config.js';
export { maskTransformer } from './transformer/mask-transformer.js';
export { type MaskTransformerConfig } from './transformer/config.js';
export { maskgitConfigKeys, tokenizerConfigKeys, type ConfigKey } from './config-keys.js';
export {
  defineTokenizer,
  tokenizerConfigFor,
  type DefinedTokenizer,
  type TokenizerConfig,
} from './tokenizer/any-tokenizer.js';
export { encodeImages, type EncodeImagesOptions } from './tokenizer/encode-images.js';
export { patchVqTokenizer, type PatchVqConfig } from './tokenizer/patch-vq.js';
export {
  codebookName,
  createTokenizer,
  type Reconstruction,
  type Tokenizer,
  type TokenizerParts,
} from './tokenizer/tokenizer.js';
export { tokenizerTrainingProgram, tokenizerTrainingResult, type TrainingImages } from './tokenizer/training.js';
export {
  resolveTokenizerTraining,
  type ResolvedTokenizerTraining,
  type TokenizerTrainingOptions,
} from './tokenizer/training-options.js';
export type { VqganConfig, VqganNetworkConfig } from './vqgan/config.js';
export { vqganTokenizer } from './vqgan/vqgan.js';
export {
  openTorchWeights,
  readTorchStateDict,
  type OpenTorchWeights,
  type TorchStateDictOptions,
  type TorchWeights,
  type TorchWeightsOptions,
} from './torch/state-dict.js';
export { type TorchTensorOptions } from './torch/torch-tensor.js';
