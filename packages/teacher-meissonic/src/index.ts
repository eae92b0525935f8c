export { type MultimodalTransformerConfig, type ResolvedTransformerConfig } from './transformer/config.js';
export { transformerOfDiffusers, type DiffusersTransformerOptions } from './transformer/diffusers-config.js';
export { multimodalTransformer, type MultimodalTransformer } from './transformer/multimodal-transformer.js';
export { rotaryTables, type RotaryTables } from './transformer/rotary.js';
export {
  embedMicroConditions,
  microConditionNumbers,
  sinusoids,
  sinusoidWidth,
  type MicroConditions,
} from './transformer/sinusoids.js';
export { embedTimesteps, timestepModes, timestepsOf, type TimestepMode } from './transformer/timestep.js';
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
export {
  officialNegativePrompt,
  prepareTextConditions,
  unpreparedTextConditions,
  type TextConditionOptions,
} from './clip/text-conditions.js';
export {
  checkPartsFit,
  defineReleasedTransformer,
  readRelease,
  readReleasedSurroundings,
  readReleasedTransformer,
  type MeissonicRelease,
  type ReleasedPart,
  type ReleasedSurroundings,
  type ReleasedTransformer,
  type ReleaseOptions,
} from './release/read-release.js';
export { recognizeRelease } from './release/recognize.js';
export { readTeacher, teacherFiles, type TeacherFileOptions } from './files.js';
export { officialMeissonicDistillation } from './official-distillation.js';
export { meissonicPlugin, meissonicTeacher } from './plugin.js';
export {
  defineMeissonic,
  meissonicName,
  officialSampler,
  type MeissonicConfig,
  type MeissonicDefinition,
  type MeissonicText,
} from './teacher-config.js';
export {
  releaseDefinition,
  releasedGenerator,
  releasedTokenInit,
  releaseTeacher,
  type ReleasedGeneratorOptions,
  type ReleaseTeacherOptions,
} from './release/release-teacher.js';
