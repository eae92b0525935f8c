import './gradients.js';

export * from './engine/engine.js';
export * from './errors.js';
export * from './model/model.js';
export * from './model/token-space.js';
export * from './model/sampler-options.js';
export * from './ops/index.js';
export * from './plugin/plugin.js';
export * from './plugin/teacher-plugin.js';
export * from './model/inspected-model.js';
export * from './training/dataset.js';
export * from './random/random.js';
export { sampleStream } from './random/sample-stream.js';
export { normalsFromWords } from './random/random-normal.js';
export * from './tensors/tensor-source.js';
export * from './tensors/tensors.js';
export * from './training/training.js';
export {
  type CheckpointFile,
  type CheckpointIdentity,
  type CheckpointManifest,
} from './storage/checkpoint-manifest.js';
export * from './storage/byte-stream.js';
export * from './storage/checkpoint-store.js';
export * from './storage/checkpoint.js';
export { decodeText } from './text/decode-text.js';
export * from './text/escape-text.js';
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
export { openSafetensors, type OpenSafetensors } from './storage/safetensors-file.js';
export * from './storage/safetensors-header.js';
export * from './storage/safetensors-write.js';
export * from './storage/safetensors.js';
export * from './storage/sha256.js';
export * from './storage/inspected-part.js';
export * from './storage/stray-files.js';
export * from './storage/weight-names.js';
export * from './storage/weight-source.js';
export * from './storage/weights.js';
export * from './tensors/batches.js';
export * from './model/check-conditions.js';
export * from './options/check-options.js';
export * from './engine/check-tensors.js';
export * from './tensors/check-tree.js';
export * from './ops/drawn-tensor.js';
export * from './engine/eager-engine.js';
export * from './engine/engine-choice.js';
export { measureEngine, type MeasureEngineOptions } from './engine/engine-measurement.js';
export { forwardPass, type EmbeddingNoise, type PassInputs } from './model/forward-pass.js';
export * from './model/guidance.js';
export * from './layers/image-layers.js';
export * from './layers/nearest-codes.js';
export * from './layers/parameter-list.js';
export * from './model/masking.js';
export { epochRows } from './training/epoch-rows.js';
export * from './training/phase.js';
export { phaseProgram, type PhaseInputs, type PhaseProgramOptions, type Shard } from './training/phase-program.js';
export * from './model/model-state.js';
export * from './sampling/multi-step.js';
export * from './training/optimizer.js';
export * from './model/prepare-teacher.js';
export * from './sampling/drawing-tokens.js';
export * from './model/schedule.js';
export * from './model/time-conditioning.js';
export * from './sampling/token-init.js';
export * from './random/truncated-normal.js';
export * from './model/condition-drop.js';
export * from './model/condition-texts.js';
export * from './ops/logit-gradient.js';
export * from './folders/teacher-description.js';
export * from './training/teacher-training.js';
export * from './distillation/dimo-step.js';
export * from './distillation/draws.js';
export * from './distillation/options.js';
export * from './distillation/distillation.js';
export * from './distillation/algorithm.js';
export { dimoAlgorithm, dimoDistillationOptions, dimoOptions } from './distillation/dimo-options.js';
export { builtInAlgorithms } from './distillation/built-in-algorithms.js';
export * from './distillation/divergence.js';
export * from './model/decoding.js';
export * from './folders/generator-bundle.js';
export * from './folders/generator-files.js';
export * from './generator/generator.js';
export * from './sampling/one-step.js';
export * as fields from './options/field-blocks.js';
export * from './options/parse-options.js';
export { builtInSamplers } from './sampling/built-in-samplers.js';
export * from './sampling/mask-time.js';
export { samplingPlan, type SamplingPlan } from './sampling/plan.js';
export * from './sampling/resolve-sampler.js';
export * from './sampling/sampler-random.js';
export * from './sampling/sampler.js';
export { haltonOrder } from './sampling/samplers/halton.js';
