import './gradients.js';

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

export { gatherRows, numRows, takeRows } from './tensors/batches.js';
export { checkSubtree, checkTree } from './tensors/check-tree.js';
export { deviceTensors, readTensors, selectTensors, tensorSource, type TensorSource } from './tensors/tensor-source.js';
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
  type HostTensor,
  type HostTree,
  type SpecTree,
  type TensorSpec,
  type TensorTree,
} from './tensors/tensors.js';

export { boundNames, checkHostTree, checkSpecTree, checkValues } from './engine/check-tensors.js';
export { eagerEngine, type EagerEngineHooks } from './engine/eager-engine.js';
export {
  chooseFastestEngine,
  type ChosenEngine,
  type EngineChoiceProgress,
  type EngineMemory,
} from './engine/engine-choice.js';
export { measureEngine } from './engine/engine-measurement.js';
export {
  type CompiledFunction,
  type CompileOptions,
  type DeviceTree,
  type Engine,
  type EngineAvailability,
  type EngineFactory,
  type EngineInfo,
  type EngineOptions,
  type FunctionSignature,
  type PureFunction,
  type UploadOptions,
} from './engine/engine.js';

export { adamUpdate } from './ops/adam-update.js';
export { attention } from './ops/attention.js';
export { withGradient } from './ops/dispatch.js';
export { drawnTensor, drawOnDevice, scaledTensor } from './ops/drawn-tensor.js';
export { embedding } from './ops/embedding.js';
export {
  type FusableAttributes,
  type FusableInputs,
  type FusableKernelName,
  type FusableOutputs,
} from './ops/fusable-kernels.js';
export { gelu } from './ops/gelu.js';
export { globalNorm } from './ops/global-norm.js';
export { groupNormalization } from './ops/group-norm.js';
export { layerNorm } from './ops/layer-norm.js';
export { linear, matrixProduct } from './ops/linear.js';
export { gradientThroughLogits } from './ops/logit-gradient.js';
export { maskedCrossEntropy } from './ops/masked-cross-entropy.js';
export { rmsNorm } from './ops/rms-norm.js';
export { rotaryEmbedding, type RotaryAngles } from './ops/rotary-embedding.js';
export { sampleCategorical } from './ops/sample-categorical.js';
export { softCrossEntropy } from './ops/soft-cross-entropy.js';
export { tokenDivergence } from './ops/token-divergence.js';

export { convolution, doublingConvolution, groupNorm, silu, upsampleNearest } from './layers/image-layers.js';
export { recomputeBlocks, recomputedBlock, weightsBelow } from './layers/recomputed-block.js';
export { nearestCodes } from './layers/nearest-codes.js';
export { initializeConvolutions, parameterList, type ParameterList } from './layers/parameter-list.js';

export { normalsFromWords } from './random/random-normal.js';
export { randomStream, type RandomStream, type StreamKey } from './random/random.js';
export { sampleStream } from './random/sample-stream.js';

export { decodeText } from './text/decode-text.js';
export { escapeText } from './text/escape-text.js';

export {
  describeValue,
  isRecord,
  mergeObjects,
  refuseUnknownKeys,
  requireGrid,
  requireInteger,
  requireIntegers,
  requireNumber,
  requireObject,
  requirePair,
  sizeLimits,
  type PlainObject,
} from './options/check-options.js';
export { type GivenOptions, type ResolvedOptions } from './options/option-types.js';
export { describeOptions, parseOptions, pickOptions } from './options/parse-options.js';

export { checkTexts, drawnFromTexts, textLines, type TextLine } from './model/condition-texts.js';
export { compileDecoder, type CompiledDecoder } from './model/decoding.js';
export { forwardPass, type PassInputs } from './model/forward-pass.js';
export { conditionSpecs, guidedLogits, type Guidance } from './model/guidance.js';
export { type InspectedModel } from './model/inspected-model.js';
export { maskTokens, scheduledMask } from './model/masking.js';
export { modelState, type ModelState } from './model/model-state.js';
export {
  contractVersion,
  type Condition,
  type ConditionSource,
  type ConditionSpec,
  type MaskedDiffusionModel,
  type ModelInputs,
  type PreparedConditions,
  type Teacher,
  type TeacherDefinition,
  type TokenDecoder,
} from './model/model.js';
export { prepareTeacher, type PreparedTeacher } from './model/prepare-teacher.js';
export {
  resolveSampling,
  tokenOptions,
  type ResolvedSampling,
  type SamplerSettings,
  type SamplingOptions,
} from './model/sampler-options.js';
export {
  embeddingNoiseScale,
  learningRateFactor,
  maskRatioAt,
  movingAverageDecay,
  tokensPerStep,
  type EmbeddingNoiseSchedule,
  type MaskRatioSchedule,
  type UnmaskingSchedule,
} from './model/schedule.js';
export { timeInputs, timeSpecs, type PassProgress, type TimeConditioning } from './model/time-conditioning.js';
export { sequenceLength, type TokenSpace } from './model/token-space.js';

export { builtInSamplers } from './sampling/built-in-samplers.js';
export { drawTokens, sampleTokens, samplingLogits, tokenDrawSpec } from './sampling/drawing-tokens.js';
export { maskedFraction, maskTimes, timeSteps, unmaskingRate, type MaskTime } from './sampling/mask-time.js';
export {
  compileMultiStep,
  sampleMultiStep,
  type MultiStepSampler,
  type MultiStepSamples,
} from './sampling/multi-step.js';
export {
  compileOneStep,
  oneStepFunction,
  randomOneStepDraws,
  sampleOneStep,
  type GeneratorTokenInit,
  type OneStepDraws,
  type OneStepFunction,
  type OneStepSampler,
  type OneStepSamples,
} from './sampling/one-step.js';
export { samplingPlan, type SamplingPlan } from './sampling/plan.js';
export {
  readSamplerSettings,
  resolveSampler,
  type ResolvedSampler,
  type SamplerRegistry,
} from './sampling/resolve-sampler.js';
export {
  randomMultiStepDraws,
  type Choices,
  type SamplerDraws,
  type SamplerDrawSize,
  type SamplerRandom,
} from './sampling/sampler-random.js';
export {
  defineSampler,
  guidanceScaleAt,
  stepOptions,
  type Pass,
  type PassRequest,
  type PassStatistic,
  type Sampler,
  type SamplerRun,
} from './sampling/sampler.js';
export { putBackKnownTokens } from './sampling/known-tokens.js';
export {
  embeddingRms,
  initialMaskRatio,
  initialTokens,
  resolveTokenInit,
  type InitialMaskRatio,
  type ResolvedTokenInit,
  type TokenInit,
} from './sampling/token-init.js';

export {
  type Dataset,
  type DatasetSplit,
  type Pixels,
  type PixelSource,
  type TokenDataset,
} from './training/dataset.js';
export { checkPixels, readImages, readPixels } from './training/pixels.js';
export { epochRows } from './training/epoch-rows.js';
export {
  resolveOptimizer,
  type NonFinitePolicy,
  type OptimizerOptions,
  type ResolvedOptimizerOptions,
} from './training/optimizer-options.js';
export { applyOptimizer, initialMoments, optimizerScalars } from './training/optimizer.js';
export { phaseProgram, type PhaseInputs, type Shard } from './training/phase-program.js';
export { type Phase, type PhaseGradients, type SampleRows } from './training/phase.js';
export {
  resolveTeacherTraining,
  teacherTrainingOptions,
  type ResolvedTeacherTraining,
  type TeacherTrainingOptions,
} from './training/teacher-training-options.js';
export { teacherTrainingProgram, teacherTrainingResult } from './training/teacher-training.js';
export {
  drawsVersion,
  runTraining,
  withTraining,
  type Counters,
  type LiveTraining,
  type RankExchange,
  type StepReport,
  type StepResult,
  type TrainingEnd,
  type TrainingOptions,
  type TrainingProgram,
  type TrainingResult,
  type TrainingSnapshot,
  type TrainingStart,
} from './training/training.js';

export {
  checkSameSpace,
  defineAlgorithm,
  describeGenerator,
  findAlgorithm,
  prepareDistillation,
  type AlgorithmRegistry,
  type AlgorithmRequest,
  type DistillationAlgorithm,
  type DistillationModels,
  type DistilledGenerator,
  type DistilledNetwork,
  type PreparedDistillation,
} from './distillation/algorithm.js';
export { builtInAlgorithms } from './distillation/built-in-algorithms.js';
export { dimoOptions } from './distillation/dimo-options.js';
export { auxiliaryGradients, generatorGradients } from './distillation/dimo-step.js';
export { dimoAlgorithm } from './distillation/dimo.js';
export { createDistillation, type Distillation, type DistillationExtras } from './distillation/distillation.js';
export { type Divergence } from './distillation/divergence.js';
export {
  distillationInputs,
  drawDistillation,
  phaseInputs,
  type DistillationDraws,
  type PhaseDraws,
} from './distillation/draws.js';
export {
  officialDistillation,
  resolveDistillation,
  type DistillationOptions,
  type ResolvedDistillation,
} from './distillation/options.js';
export {
  distillationRunOptions,
  type DistillationRun,
  type DistillationRunOptions,
} from './distillation/run-options.js';

export {
  asTeacher,
  oneStepTokenInit,
  type GeneratorArchitecture,
  type GeneratorSampling,
  type LoadedGenerator,
} from './generator/generator.js';

export {
  createRegistry,
  definePlugin,
  type DatasetPlugin,
  type DimoPlugin,
  type MetricPlugin,
  type PluginRegistry,
  type TokenDatasetPlugin,
} from './plugin/plugin.js';
export {
  type AssumedSetting,
  type RecognizedWeights,
  type TeacherFiles,
  type TeacherPlugin,
  type TeacherPreset,
  type TrainingDataFacts,
} from './plugin/teacher-plugin.js';

export {
  contentBytes,
  contentParts,
  type ByteStream,
  type FileContent,
  type Sha256Stream,
} from './storage/byte-stream.js';
export { type CheckpointIdentity } from './storage/checkpoint-manifest.js';
export { type CheckpointStore } from './storage/checkpoint-store.js';
export {
  cleanCheckpoints,
  listCheckpoints,
  loadCheckpoint,
  loadLatestCheckpoint,
  openLatestCheckpoint,
  saveCheckpoint,
  type Checkpoint,
  type CheckpointRetention,
  type LoadedCheckpoint,
} from './storage/checkpoint.js';
export { decodeHalfFloats, float16BitsOf, halfFloatsOf, halfTensor } from './storage/half-tensors.js';
export { type InspectedPart } from './storage/inspected-part.js';
export { readJsonFile, readSmallFile, readTextLines } from './storage/json-file.js';
export { inspectPart, modelWeightFiles, readModelWeights } from './storage/model-weights.js';
export { openSafetensors } from './storage/safetensors-file.js';
export { parseSafetensorsHeader, safetensorsHeaderLength } from './storage/safetensors-header.js';
export { streamSafetensors, writeSafetensors, type SafetensorsWriteOptions } from './storage/safetensors-write.js';
export { readSafetensors } from './storage/safetensors.js';
export { sha256Hex } from './storage/sha256.js';
export { isStrayFile } from './storage/stray-files.js';
export { openWeightFile, type WeightFile, type WeightSource } from './storage/weight-source.js';
export { checkWeights, largestDifference, treeDifference } from './storage/weights.js';

export { generatorBundle, generatorBundleSource } from './folders/generator-bundle.js';
export {
  generatorFileNames,
  generatorFiles,
  inspectGenerator,
  readGenerator,
  streamGeneratorFiles,
} from './folders/generator-files.js';
export {
  readTeacherDescription,
  teacherDescriptionName,
  type TeacherDescription,
} from './folders/teacher-description.js';
export * as fields from './options/field-blocks.js';
