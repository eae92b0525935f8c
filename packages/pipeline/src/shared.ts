/** What Node and browsers have in common. */
export type { Generate } from './generate/generate.js';
export type { DrawingProgress, GenerateOptions, NetworkKind, Prompts } from './generate/options.js';
export { createGenerate, type GenerateParts } from './generate/generate.js';
export type { LoadingProgress, PipelineOptions } from './hosts/host.js';
export type { ModelPlace, Pipeline } from './hosts/pipeline.js';
export {
  checkGivenImage,
  knownTokensOf,
  readGivenImage,
  requireEncoder,
  withKeptPixels,
  type GivenImage,
  type GivenImageNames,
  type GivenImageOptions,
  type GivenImageRequest,
} from './given/given-image.js';
export type { ImageInput, PixelData } from './given/pixels.js';
export { decodePixels } from './given/png.js';
export { conditionsFor, parseClasses, type ConditionRequest, type NamedConditions } from './model/conditions.js';
export { openDecoder, type OpenDecoder } from './model/decoder.js';
export { samplingOf, type GeneratorSettings, type NetworkSettings } from './model/network.js';
export { readModelFolder, type ModelFolder, type TeacherPlugins } from './model/read-model.js';
export {
  residentModel,
  type ModelParts,
  type ResidentModel,
  type ResidentModelOptions,
  type TokensRequest,
} from './model/resident-model.js';
export { imageGrid, type ImageGridOptions } from './pictures/image-grid.js';
export { imageAt, type Picture } from './pictures/picture.js';
export { bundledTeachers } from './teachers.js';
