/**
 * The contract of a teacher plugin: a masked diffusion model, facts about its token space and condition as data, and
 * pure functions over its weights. Teacher, auxiliary model and generator are one model with three weight sets unless
 * others are asked for; a pass is `logits` of `embed` (`forward-pass.ts`).
 */
import type { Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import type { Engine, UploadOptions } from '../engine/engine.js';
import type { RandomStream } from '../random/random.js';
import type { SamplerSettings } from './sampler-options.js';
import type { HostTree, SpecTree, TensorSpec, TensorTree } from '../tensors/tensors.js';
import type { TimeConditioning } from './time-conditioning.js';
import type { TokenSpace } from './token-space.js';

/** Named tensors with a leading batch axis: `{ label }`, or text states, pooled embedding and micro-conditions. */
export type Condition = TensorTree;

/** Arguments of `logits`: all that a model sees of a pass. */
export interface ModelInputs {
  /**
   * float32 [batch, L, embeddingWidth]: those of the tokens, row-major over the grid, perturbed where the pass asks for
   * it. Not always rows of a table.
   */
  readonly embeddings: Tensor3D;
  readonly condition: Condition;
  /** Results of the model's `time.compute`, for models that are conditioned on progress. MaskGIT is not. */
  readonly time?: TensorTree;
  /** Dropout probability and float32 uniforms by site name; absent when evaluating. */
  readonly dropout?: { readonly rate: number; readonly uniforms: TensorTree };
}

/** A condition tensor without its batch axis. */
export interface ConditionSpec extends TensorSpec {
  /** For ids: they are integers in [0, below), "no condition" included. @default any number */
  readonly below?: number;
}

/** A masked diffusion model: facts and pure functions. */
export interface MaskedDiffusionModel {
  /** Kind of model and size in one word, `maskgit-h128-d4`; checkpoints record it. */
  readonly name: string;
  readonly tokenSpace: TokenSpace;
  /** Shape without the batch axis and dtype of each condition tensor. */
  readonly condition: Readonly<Record<string, ConditionSpec>>;
  /** Inputs derived from the progress of a pass; absent if the model sees tokens and condition alone. */
  readonly time?: TimeConditioning;
  /** Width of the token embeddings. */
  readonly embeddingWidth: number;
  /** Every weight by its name on disk (the original implementation's names, shapes and layouts). */
  readonly parameters: SpecTree;
  /** Names of parameters that Di[M]O keeps fixed by default: token and position embeddings, tied output. */
  readonly embeddingParameters: readonly string[];
  /**
   * Root mean square of the embeddings that embedding noise perturbs, where they are not the rows of a table.
   *
   * @default that of the first table in `embeddingParameters`
   */
  embeddingRms?(weights: HostTree): number;
  /** Freshly initialized weights. */
  initialize(random: RandomStream): HostTree;
  /**
   * Embeddings of tokens, float32 [batch, n, embeddingWidth]: what embedding noise perturbs. Each follows from its token
   * alone, not from its position or its neighbours, so that n may be any number; what a model adds by position or
   * condition is part of `logits`. Pure; differentiable in the weights.
   *
   * @param tokens - int32 [batch, n]: codes, and `maskTokenId` where masked.
   */
  embed(weights: TensorTree, tokens: Tensor2D): Tensor3D;
  /**
   * Logits of all positions, float32 [batch, L, V]. Pure; differentiable in the weights and in the embeddings.
   */
  logits(weights: TensorTree, inputs: ModelInputs): Tensor3D;
  /** Shapes without batch axis of the dropout uniforms by site name; absent if the model has no dropout. */
  readonly dropoutSites?: SpecTree;
}

/** Between tokens and images. */
export interface TokenDecoder {
  /** Recorded in checkpoints and reports: `vqgan-f16`, `patch-vq`. */
  readonly name: string;
  readonly parameters: SpecTree;
  /** Height, width, channels of the images. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** Token grid it belongs to. */
  readonly grid: readonly [rows: number, columns: number];
  readonly codebookSize: number;
  /** Images float32 [batch, H, W, C], clipped to [0, 1], of tokens int32 [batch, L] in [0, codebookSize). */
  decode(weights: TensorTree, tokens: Tensor2D): Tensor4D;
  /** Tokens int32 [batch, L] of images float32 [batch, H, W, C] in [0, 1]. */
  encode?(weights: TensorTree, images: Tensor4D): Tensor2D;
}

/** Where conditions come from while distilling and sampling. */
export interface ConditionSource {
  /**
   * `count` conditions drawn with `random`; every tensor has the leading axis `count`. While training, `random` is the
   * streams of `count` samples as one (`sampleStream`): the same amount of numbers is drawn for each condition, and there is
   * no `permutation`.
   */
  sample(random: RandomStream, count: number): HostTree | Promise<HostTree>;
  /**
   * Conditions from what a person typed: class ids ("3"), class names or prompts, one each.
   *
   * @throws OptionError naming the first one that is not understood and what would be.
   */
  parse(texts: readonly string[]): HostTree | Promise<HostTree>;
  /**
   * Checks texts without making conditions of them: for lists that a run draws from, which are checked before its first
   * step. Needs no engine.
   *
   * @returns indices of the texts of which only the beginning is read, because they are longer than the model takes.
   * @throws OptionError as `parse`.
   * @default `parse` checks
   */
  check?(texts: readonly string[]): readonly number[];
  /** Names of the classes by id, for reports, if the condition is a class. */
  readonly classNames?: readonly string[];
}

/** Conditions on an engine, ready to use. */
export interface PreparedConditions {
  readonly conditions: ConditionSource;
  /** As `TeacherDefinition.nullCondition`. */
  readonly nullCondition: HostTree;
  /** Releases what they hold on the engine; conditions made before stay valid. */
  dispose(): Promise<void>;
}

/** Version of the plugin contract that this core speaks. */
export const contractVersion = 2;

/** What a teacher plugin provides. */
export interface TeacherDefinition {
  readonly contract: typeof contractVersion;
  readonly name: string;
  readonly model: MaskedDiffusionModel;
  /** Condition tensors without batch axis that mean "no condition", for guidance and condition drop. */
  readonly nullCondition: HostTree;
  readonly conditions: ConditionSource;
  /**
   * For conditions that are computed, as those of a text encoder: `conditions` and `nullCondition` are of use only after
   * `prepareTeacher` has replaced them by these.
   *
   * @param options - how weights go to the engine. With `move` this definition is prepared once, and its
   *   `conditionFiles` are gone.
   */
  prepareConditions?(engine: Engine, options?: UploadOptions): Promise<PreparedConditions>;
  /**
   * Files that the conditions need beside the configuration, by name: a vocabulary, the weights of a text encoder. They go
   * into every folder of a teacher or generator, where the plugin's `defineFrom` finds them.
   */
  conditionFiles?(): Readonly<Record<string, Uint8Array>>;
  /** Absent when the tokens themselves are the product. */
  readonly decoder?: TokenDecoder;
  /** The multi-step sampler of this teacher and its options. @default MaskGIT's with its defaults */
  readonly sampler?: SamplerSettings | undefined;
  /** Plain JSON from which the same plugin can rebuild this teacher; saved with every generator. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** A teacher definition with its frozen weights. */
export interface Teacher extends TeacherDefinition {
  /** Weights of the model, strict: every name of `model.parameters` and no other. */
  readonly weights: HostTree;
  /** Weights of the decoder, if there is one. */
  readonly decoderWeights?: HostTree;
}
