import './gradients.js';

export * from './engine/engine.js';
export {
  BackendUnavailableError,
  CheckpointError,
  DimoError,
  NonFiniteError,
  OptionError,
  PluginError,
  ShapeError,
  WeightError,
  type DimoErrorCode,
  type DimoErrorOptions,
} from './errors.js';
export * from './model/model.js';
export * from './model/token-space.js';
export * from './model/sampler-options.js';
export {
  adamUpdate,
  attention,
  embedding,
  gelu,
  globalNorm,
  groupNormalization,
  layerNorm,
  linear,
  maskedCrossEntropy,
  matrixProduct,
  rmsNorm,
  rotaryEmbedding,
  sampleCategorical,
  softCrossEntropy,
  tokenDivergence,
  withGradient,
  type AdamScalars,
  type AdamTensors,
  type AdamUpdateAttributes,
  type AdamUpdated,
  type AttentionOptions,
  type FusableAttributes,
  type FusableInputs,
  type FusableKernelName,
  type FusableOutputs,
  type GeluOptions,
  type GroupNormOptions,
  type LayerNormOptions,
  type MaskedCrossEntropyInputs,
  type MaskedCrossEntropyResult,
  type RmsNormOptions,
  type RotaryAngles,
  type SoftCrossEntropyInputs,
  type SoftCrossEntropyResult,
  type TokenDivergenceAttributes,
  type TokenDivergenceInputs,
  type TokenDivergenceResult,
} from './ops/index.js';
export * from './plugin/plugin.js';
export * from './plugin/teacher-plugin.js';
export * from './model/inspected-model.js';
export * from './training/dataset.js';
export { randomStream, type RandomStream, type StreamKey } from './random/random.js';
export { sampleStream } from './random/sample-stream.js';
export { normalsFromWords } from './random/random-normal.js';
export * from './tensors/tensor-source.js';
export {
  bool,
  checkShape,
  float32,
  int32,
  scalar,
  sizeOf,
  specOf,
  specsOf,
  subtree,
  withPrefix,
  type DType,
  type DTypeArray,
  type HostTensor,
  type HostTree,
  type SpecTree,
  type TensorSpec,
  type TensorTree,
} from './tensors/tensors.js';
export * from './training/training.js';
export { type CheckpointIdentity } from './storage/checkpoint-manifest.js';
export * from './storage/byte-stream.js';
export * from './storage/checkpoint-store.js';
export * from './storage/checkpoint.js';
export { decodeText } from './text/decode-text.js';
export * from './text/escape-text.js';
export { decodeHalfFloats, float16BitsOf, halfFloatsOf, halfTensor, type HalfFloats } from './storage/half-tensors.js';
export { readJsonFile, readSmallFile, readTextLines, type JsonFileOptions } from './storage/json-file.js';
export { type JsonValue } from './storage/json.js';
export { type SafetensorsDType, type SafetensorsEntry, type SafetensorsLimits } from './storage/safetensors-format.js';
export { inspectPart, modelWeightFiles, readModelWeights, type ModelWeightsOptions } from './storage/model-weights.js';
export { openSafetensors, type OpenSafetensors } from './storage/safetensors-file.js';
export * from './storage/safetensors-header.js';
export * from './storage/safetensors-write.js';
export { readSafetensors, type SafetensorsContent, type SafetensorsReadOptions } from './storage/safetensors.js';
export * from './storage/sha256.js';
export * from './storage/inspected-part.js';
export * from './storage/stray-files.js';
export { openWeightFile, type WeightFile, type WeightSource } from './storage/weight-source.js';
export {
  checkWeights,
  largestDifference,
  treeDifference,
  type LargestDifference,
  type WeightCheckContext,
} from './storage/weights.js';
export * from './tensors/batches.js';
export * from './model/check-conditions.js';
export * from './options/check-options.js';
export * from './engine/check-tensors.js';
export * from './tensors/check-tree.js';
export { drawnTensor, drawOnDevice, scaledTensor, type DrawRecipe } from './ops/drawn-tensor.js';
export * from './engine/eager-engine.js';
export * from './engine/engine-choice.js';
export { measureEngine, type MeasureEngineOptions } from './engine/engine-measurement.js';
export { forwardPass, type EmbeddingNoise, type PassInputs } from './model/forward-pass.js';
export { conditionSpecs, guidedLogits, type Guidance, type GuidanceInputs } from './model/guidance.js';
export * from './layers/image-layers.js';
export * from './layers/nearest-codes.js';
export * from './layers/parameter-list.js';
export { chooseMasked, maskTokens, scheduledMask, type ChosenMask, type MaskRatioRange } from './model/masking.js';
export { epochRows } from './training/epoch-rows.js';
export * from './training/phase.js';
export { phaseProgram, type PhaseInputs, type PhaseProgramOptions, type Shard } from './training/phase-program.js';
export * from './model/model-state.js';
export * from './sampling/multi-step.js';
export {
  applyOptimizer,
  initialMoments,
  optimizerScalars,
  type OptimizerStep,
  type OptimizerStepResult,
} from './training/optimizer.js';
export * from './training/optimizer-options.js';
export * from './model/prepare-teacher.js';
export { drawTokens, sampleTokens, samplingLogits, tokenDrawSpec } from './sampling/drawing-tokens.js';
export {
  embeddingNoiseScale,
  learningRateFactor,
  maskRatioAt,
  maskRatioSchedules,
  movingAverageDecay,
  tokensPerStep,
  type EmbeddingNoiseSchedule,
  type LearningRateSchedule,
  type MaskRatioSchedule,
  type UnmaskingSchedule,
} from './model/schedule.js';
export * from './model/time-conditioning.js';
export {
  embeddingRms,
  initialMaskRatio,
  initialTokens,
  resolveTokenInit,
  type InitialMaskRatio,
  type InitialTokenDraws,
  type ResolvedTokenInit,
  type TokenInit,
} from './sampling/token-init.js';
export { checkTexts, drawnFromTexts, textLines, type TextLine } from './model/condition-texts.js';
export * from './ops/logit-gradient.js';
export * from './folders/teacher-description.js';
export { teacherTrainingProgram, teacherTrainingResult, type TrainingSequences } from './training/teacher-training.js';
export * from './training/teacher-training-options.js';
export {
  auxiliaryGradients,
  generatorGradients,
  type DistillationNetworks,
  type DistillationSetup,
} from './distillation/dimo-step.js';
export {
  distillationInputs,
  drawDistillation,
  phaseInputs,
  type DistillationDraws,
  type DistillationPhase,
  type DrawContext,
  type PhaseDraws,
  type PhaseInputOptions,
} from './distillation/draws.js';
export * from './distillation/options.js';
export * from './distillation/distillation.js';
export * from './distillation/algorithm.js';
export { dimoAlgorithm } from './distillation/dimo.js';
export { dimoOptions } from './distillation/dimo-options.js';
export { distillationRunOptions } from './distillation/run-options.js';
export { builtInAlgorithms } from './distillation/built-in-algorithms.js';
export { divergenceBeta, type Divergence } from './distillation/divergence.js';
export * from './model/decoding.js';
export * from './folders/generator-bundle.js';
export * from './folders/generator-files.js';
export {
  asTeacher,
  oneStepTokenInit,
  type GeneratorArchitecture,
  type GeneratorDescription,
  type GeneratorSampling,
  type LoadedGenerator,
} from './generator/generator.js';
export * from './sampling/one-step.js';
export * as fields from './options/field-blocks.js';
export type { GivenOptions, ResolvedOptions } from './options/option-types.js';
export * from './options/parse-options.js';
export { builtInSamplers } from './sampling/built-in-samplers.js';
export * from './sampling/mask-time.js';
export { samplingPlan, type SamplingPlan } from './sampling/plan.js';
export * from './sampling/resolve-sampler.js';
export {
  randomMultiStepDraws,
  type Choices,
  type SamplerDraws,
  type SamplerDrawSize,
  type SamplerRandom,
} from './sampling/sampler-random.js';
export * from './sampling/sampler.js';
