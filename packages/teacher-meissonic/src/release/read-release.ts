/**
 * Reads the public release of Meissonic (a diffusers pipeline folder) and the transformer of a released one-step
 * generator. Weights keep their names and, if they are in 16 bits, stay so.
 */
import {
  describeValue,
  escapeText,
  inspectPart,
  OptionError,
  readJsonFile,
  readModelWeights,
  requireObject,
  type HostTree,
  type InspectedPart,
  type PlainObject,
  type SpecTree,
  type WeightSource,
} from '@dimo/core';
import type { ClipTextConfig } from '../clip/text-config.js';
import { checkTokenizerFits } from '../clip/text-conditions.js';
import { clipTextEncoder, type ClipTextEncoder } from '../clip/text-encoder.js';
import { readClipTokenizer } from '../clip/tokenizer-files.js';
import type { ClipTokenizer } from '../clip/tokenizer.js';
import { transformerOfDiffusers } from '../transformer/diffusers-config.js';
import { conditionFiles, readTokenizerFiles } from '../condition-files.js';
import { multimodalTransformer, type MultimodalTransformer } from '../transformer/multimodal-transformer.js';
import type { TimestepMode } from '../transformer/timestep.js';
import type { VqModelConfig } from '../vqvae/config.js';
import { vqModel, type VqModel } from '../vqvae/vq-model.js';
import { readPartConfig, releaseLayout, type WeightedPart } from './layout.js';

/** What the files of a release do not say. */
export interface ReleaseOptions {
  /** Token grid, n for [n, n]; even numbers. @default 64, pictures of 1024 pixels */
  readonly grid?: number | readonly [rows: number, columns: number];
  /** Which timestep the model is told. @default 'official' */
  readonly timestepMode?: TimestepMode;
  /** Values over those of the `config.json` of a part, in its words. */
  readonly parts?: Readonly<Partial<Record<WeightedPart, PlainObject>>>;
  /** Leave 16-bit weights in 16 bits: see `halfTensor` of @dimo/core. @default true */
  readonly keepHalf?: boolean;
}

/** A part of a release with its weights. */
export interface ReleasedPart<Model> {
  readonly model: Model;
  readonly weights: HostTree;
}

/** The transformer of a release. */
export type ReleasedTransformer = ReleasedPart<MultimodalTransformer>;

/** A whole release. */
export interface MeissonicRelease {
  readonly transformer: ReleasedTransformer;
  readonly vqvae: ReleasedPart<VqModel>;
  readonly textEncoder: ReleasedPart<ClipTextEncoder>;
  readonly tokenizer: ClipTokenizer;
  /** Tokenizer and text encoder as files of our own folders. */
  files(): Readonly<Record<string, Uint8Array>>;
}

/** A release without the transformer: what a released one-step generator takes from its teacher. */
export type ReleasedSurroundings = Omit<MeissonicRelease, 'transformer'>;

/** Side of the token grid of the release: pictures of 1024 pixels. */
export const defaultGrid = 64;

/**
 * Reads the transformer of a release or of a released one-step generator.
 *
 * @throws OptionError for a wrong configuration, WeightError for weights that are missing, damaged or of another size.
 */
export async function readReleasedTransformer(
  source: WeightSource,
  options: ReleaseOptions = {},
): Promise<ReleasedTransformer> {
  const model = await defineReleasedTransformer(source, options);
  return { model, weights: await readPartWeights(source, 'transformer', model, options) };
}

/** The architecture of a released transformer, without its weights. @throws OptionError for a wrong configuration. */
export async function defineReleasedTransformer(
  source: WeightSource,
  options: ReleaseOptions = {},
): Promise<MultimodalTransformer> {
  const { grid = defaultGrid, timestepMode } = options;
  const { config, where } = await readPartConfig(source, 'transformer', options.parts?.transformer);
  const size = transformerOfDiffusers(config, { grid, ...(timestepMode === undefined ? {} : { timestepMode }) }, where);
  return multimodalTransformer(size);
}

/**
 * Reads VQ-VAE, text encoder and tokenizer of a release.
 *
 * @throws OptionError for a wrong configuration, WeightError for weights that are missing, damaged or of another size.
 */
export async function readReleasedSurroundings(
  source: WeightSource,
  options: ReleaseOptions = {},
): Promise<ReleasedSurroundings> {
  const { vqvae, encoder, tokenizer } = await defineSurroundings(source, options);
  const tokenizerFiles = await readTokenizerFiles(source, releaseLayout.tokenizer);
  const encoderWeights = await readPartWeights(source, 'textEncoder', encoder, options);
  return {
    vqvae: { model: vqvae, weights: await readPartWeights(source, 'vqvae', vqvae, options) },
    textEncoder: { model: encoder, weights: encoderWeights },
    tokenizer,
    files: () => conditionFiles(encoderWeights, tokenizerFiles),
  };
}

interface DefinedSurroundings {
  readonly vqvae: VqModel;
  readonly encoder: ClipTextEncoder;
  readonly tokenizer: ClipTokenizer;
}

async function defineSurroundings(source: WeightSource, options: ReleaseOptions): Promise<DefinedSurroundings> {
  const grid = options.grid ?? defaultGrid;
  const { config } = await readPartConfig(source, 'vqvae', options.parts?.vqvae);
  const vqvae = vqModel(config as unknown as VqModelConfig, { grid: typeof grid === 'number' ? [grid, grid] : grid });
  const encoder = clipTextEncoder(await textEncoderConfig(source, options));
  const tokenizer = await readClipTokenizer(source, releaseLayout.tokenizer);
  checkTokenizerFits(tokenizer, encoder);
  return { vqvae, encoder, tokenizer };
}

/** A release whose files were checked without reading the weights. */
export interface InspectedRelease {
  readonly transformer: MultimodalTransformer;
  readonly vqvae: VqModel;
  readonly textEncoder: ClipTextEncoder;
  readonly parts: readonly InspectedPart[];
}

/**
 * Checks a release, or a released generator and the release of its teacher, as they are read, but for the numbers.
 *
 * @param surroundings - where VQ-VAE, text encoder and tokenizer are.
 * @throws OptionError, WeightError as `readRelease`.
 */
export async function inspectRelease(
  source: WeightSource,
  options: ReleaseOptions = {},
  surroundings: WeightSource = source,
): Promise<InspectedRelease> {
  const transformer = await defineReleasedTransformer(source, options);
  if (source === surroundings) await checkScheduler(source, transformer);
  const { vqvae, encoder, tokenizer } = await defineSurroundings(surroundings, options);
  checkPartsFit(
    transformer,
    { vqvae: { model: vqvae }, textEncoder: { model: encoder }, tokenizer },
    source === surroundings ? source.location : 'the released generator',
  );
  const part = (name: string, at: WeightSource, key: WeightedPart, model: SizedModel): Promise<InspectedPart> =>
    inspectPart(at, { name, ...releaseLayout[key], model, lenient: true });
  return {
    transformer,
    vqvae,
    textEncoder: encoder,
    parts: [
      await part('transformer', source, 'transformer', transformer),
      await part('decoder', surroundings, 'vqvae', vqvae),
      await part('text encoder', surroundings, 'textEncoder', encoder),
    ],
  };
}

/**
 * Reads a whole release and checks that its parts fit each other.
 *
 * @throws OptionError for a wrong configuration or parts that do not fit; WeightError for weights that are missing,
 *   damaged or of another size.
 */
export async function readRelease(source: WeightSource, options: ReleaseOptions = {}): Promise<MeissonicRelease> {
  const model = await defineReleasedTransformer(source, options);
  await checkScheduler(source, model);
  const surroundings = await readReleasedSurroundings(source, options);
  checkPartsFit(model, surroundings, source.location);
  const transformer = { model, weights: await readPartWeights(source, 'transformer', model, options) };
  return { transformer, ...surroundings };
}

/** What `checkPartsFit` looks at. */
export interface PartsToFit extends Pick<ReleasedSurroundings, 'tokenizer'> {
  readonly vqvae: Pick<ReleasedPart<VqModel>, 'model'>;
  readonly textEncoder: Pick<ReleasedPart<ClipTextEncoder>, 'model'>;
}

/** Checks that a transformer belongs to VQ-VAE, text encoder and tokenizer. @throws OptionError naming the two numbers. */
export function checkPartsFit(
  { config, tokenSpace, condition }: MultimodalTransformer,
  { vqvae, textEncoder, tokenizer }: PartsToFit,
  location: string,
): void {
  const text = textEncoder.model.config;
  const pairs: [string, number, string, number][] = [
    ['codes', tokenSpace.codebookSize, 'VQ-VAE', vqvae.model.codebookSize],
    ['channels of text', config.textWidth, 'text encoder', text.hidden_size],
    ['channels of pooled text', condition['pooledText']!.shape[0]!, 'text encoder', text.projection_dim],
    ['text tokens', config.textLength, 'tokenizer', tokenizer.maximumLength],
  ];
  for (const [what, expected, part, found] of pairs)
    if (expected !== found)
      throw new OptionError(
        `${escapeText(location)}: the transformer is made for ${expected} ${what}, the ${part} has ${found}`,
        { path: location, hint: 'the parts are of different releases' },
      );
}

async function checkScheduler(source: WeightSource, model: MultimodalTransformer): Promise<void> {
  const name = releaseLayout.scheduler;
  if (!(await source.list()).includes(name)) return;
  const where = escapeText(`${source.location}/${name}`);
  const config = requireObject(await readJsonFile(source, name), where);
  const { maskTokenId } = model.tokenSpace;
  if (config['mask_token_id'] !== maskTokenId)
    throw new OptionError(
      `${where}: mask_token_id must be ${maskTokenId}, the transformer's last token, got ${describeValue(config['mask_token_id'])}`,
    );
  if ((config['masking_schedule'] ?? 'cosine') !== 'cosine')
    throw new OptionError(
      `${where}: masking_schedule must be "cosine", got ${describeValue(config['masking_schedule'])}`,
    );
}

/**
 * The text encoder's configuration: that of a `CLIPTextModelWithProjection`, or the text half of a whole `CLIPModel`, as
 * in the repository of the encoder that the release was trained with (OpenCLIP ViT-H/14).
 */
async function textEncoderConfig(source: WeightSource, options: ReleaseOptions): Promise<ClipTextConfig> {
  const given = options.parts?.textEncoder ?? {};
  const { config, where } = await readPartConfig(source, 'textEncoder');
  const { architectures = [], text_config: half } = config;
  if (Array.isArray(architectures) && architectures.includes('CLIPTextModel'))
    throw new OptionError(
      `${where}: a CLIPTextModel has no text projection; Meissonic needs a CLIPTextModelWithProjection`,
      {
        path: source.location,
        hint: 'take the text_encoder/ folder of the release, or the encoder that it was made from',
      },
    );
  if (half === undefined) return { ...config, ...given } as ClipTextConfig;
  const { projection_dim = requireObject(half, `${where}: text_config`)['projection_dim'] } = config;
  return { ...requireObject(half, `${where}: text_config`), projection_dim, ...given } as ClipTextConfig;
}

interface SizedModel {
  readonly name: string;
  readonly parameters: SpecTree;
}

function readPartWeights(
  source: WeightSource,
  part: WeightedPart,
  model: SizedModel,
  { keepHalf = true }: ReleaseOptions,
): Promise<HostTree> {
  return readModelWeights(source, {
    ...releaseLayout[part],
    model,
    keepHalf,
    // Positions, written before 4.31, the image half of a CLIPModel, and whatever else a trainer keeps.
    lenient: true,
  });
}
