export { attention, type AttentionOptions } from './attention.js';
export { withGradient } from './dispatch.js';
export type {
  AdamUpdateAttributes,
  FusableAttributes,
  FusableInputs,
  FusableKernelName,
  FusableOutputs,
} from './fusable-kernels.js';
export { embedding } from './embedding.js';
export { gelu, type GeluOptions } from './gelu.js';
export { groupNormalization, type GroupNormOptions } from './group-norm.js';
export { layerNorm, type LayerNormOptions } from './layer-norm.js';
export { linear, matrixProduct } from './linear.js';
export { rmsNorm, type RmsNormOptions } from './rms-norm.js';
export { rotaryEmbedding, type RotaryAngles } from './rotary-embedding.js';
export { sampleCategorical } from './sample-categorical.js';
export { adamUpdate, type AdamScalars, type AdamTensors, type AdamUpdated } from './adam-update.js';
export { globalNorm } from './global-norm.js';
export {
  maskedCrossEntropy,
  type MaskedCrossEntropyInputs,
  type MaskedCrossEntropyResult,
} from './masked-cross-entropy.js';
export { softCrossEntropy, type SoftCrossEntropyInputs, type SoftCrossEntropyResult } from './soft-cross-entropy.js';
export {
  guidedTeacherLogits,
  tokenDivergence,
  type TokenDivergenceAttributes,
  type TokenDivergenceInputs,
  type TokenDivergenceResult,
} from './token-divergence.js';
