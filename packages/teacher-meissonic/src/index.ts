export { clipTextEncoder, type ClipTextEncoder, type EncodedText, type TextObserver } from './clip/text-encoder.js';
export { type ClipTextConfig, type ResolvedClipTextConfig } from './clip/text-config.js';
export { readClipTokenizer } from './clip/tokenizer-files.js';
export {
  clipTokenizer,
  type ClipSpecialToken,
  type ClipTokenizer,
  type ClipTokenizerOptions,
} from './clip/tokenizer.js';
export { vqModel, type ActivationObserver, type VqModel, type VqModelOptions } from './vqvae/vq-model.js';
export { codebookName, type ResolvedVqModelConfig, type VqModelConfig } from './vqvae/config.js';
