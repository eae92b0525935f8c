import './gradients.js';

export * from './engine.js';
export * from './errors.js';
export * from './model.js';
export * from './token-space.js';
export * from './sampler-options.js';
export * from './ops/index.js';
export * from './plugin.js';
export * from './teacher-plugin.js';
export * from './inspected-model.js';
export * from './dataset.js';
export * from './random.js';
export { normalsFromWords } from './random-normal.js';
export * from './tensors.js';
export * from './training.js';
export {
  type CheckpointFile,
  type CheckpointIdentity,
  type CheckpointManifest,
} from './storage/checkpoint-manifest.js';
export * from './storage/checkpoint-store.js';
export * from './storage/checkpoint.js';
export { decodeText } from './storage/decode-text.js';
export * from './storage/escape-text.js';
export * from './storage/foreign-file.js';
export * from './storage/half-tensors.js';
export * from './storage/json-file.js';
export * from './storage/json.js';
export {
  bytesPerElement,
  defaultSafetensorsLimits,
  type SafetensorsDType,
  type SafetensorsEntry,
  type SafetensorsLimits,
} from './storage/safetensors-format.js';
export * from './storage/model-weights.js';
export * from './storage/safetensors-file.js';
export * from './storage/safetensors-header.js';
export * from './storage/safetensors-write.js';
export * from './storage/safetensors.js';
export * from './storage/sha256.js';
export * from './storage/inspected-part.js';
export * from './storage/stray-files.js';
export * from './storage/weight-names.js';
export * from './storage/weight-source.js';
export * from './storage/weights.js';
export * from './batches.js';
export * from './check-conditions.js';
export * from './check-options.js';
export * from './check-tensors.js';
export * from './check-tree.js';
export * from './drawn-tensor.js';
export * from './eager-engine.js';
export * from './engine-choice.js';
export { measureEngine, type MeasureEngineOptions } from './engine-measurement.js';
export * from './guidance.js';
export * from './layers/image-layers.js';
export * from './layers/nearest-codes.js';
export * from './layers/parameter-list.js';
export * from './masking.js';
export { mergeCalls } from './merge-calls.js';
export * from './model-state.js';
export * from './multi-step.js';
export * from './optimizer.js';
export * from './prepare-teacher.js';
export * from './sampling.js';
export * from './schedule.js';
export * from './time-conditioning.js';
export * from './token-init.js';
export * from './truncated-normal.js';
export * from './condition-drop.js';
export * from './condition-texts.js';
export * from './logit-gradient.js';
export * from './teacher-description.js';
export * from './teacher-training.js';
export * from './training-result.js';
export * from './distill.js';
export * from './distillation-draws.js';
export * from './distillation-options.js';
export * from './distillation.js';
export * from './distilled-generator.js';
export * from './divergence.js';
export * from './decoding.js';
export * from './generator-bundle.js';
export * from './generator-files.js';
export * from './generator.js';
export * from './one-step.js';
export * as fields from './options/fields.js';
export * from './options/parse-options.js';
export { builtInSamplers } from './sampling/built-in-samplers.js';
export * from './sampling/mask-time.js';
export { samplingPlan, type SamplingPlan } from './sampling/plan.js';
export * from './sampling/resolve-sampler.js';
export * from './sampling/sampler-random.js';
export * from './sampling/sampler.js';
export { haltonOrder } from './sampling/samplers/halton.js';
