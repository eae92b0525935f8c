/** Configuration of a MaskGIT teacher: plain JSON to a definition and back. */
import {
  contractVersion,
  describeValue,
  int32,
  OptionError,
  refuseUnknownKeys,
  requireObject,
  readSamplerSettings,
  type SamplerSettings,
  type PlainObject,
  type TeacherDefinition,
} from '@dimo/core';
import { defineTokenizer, type Tokenizer, type TokenizerConfig } from '@dimo/tokenizers';
import { classConditions, type ClassConditionsOptions } from './class-conditions.js';
import { imagenetClasses, imagenetClassNames } from './imagenet-classes.js';
import { resolveMaskTransformer, type MaskTransformerConfig } from './transformer/config.js';
import { maskTransformer } from './transformer/mask-transformer.js';

/** Configuration of a MaskGIT teacher. */
export interface MaskgitConfig {
  /**
   * Size of the transformer. `codebookSize` and `grid` default to the tokenizer's, `numClasses` to the number of class
   * names, the rest to a model for small images: hidden 96, depth 4, 4 heads, mlp 384, embeddingDeviation 0.1.
   */
  readonly transformer?: Partial<MaskTransformerConfig>;
  /** `null` for a teacher of bare tokens. @default patch-VQ for 28 x 28 gray images */
  readonly tokenizer?: TokenizerConfig | null;
  /** Names of the classes by id; `imagenet` for the 1000 of ImageNet, with their synonyms. */
  readonly classNames?: readonly string[] | typeof imagenetClassNames;
  /** Defaults of the multi-step sampler. */
  readonly sampler?: SamplerSettings;
}

/** A MaskGIT teacher's definition; its decoder can encode and be trained. */
export interface MaskgitDefinition extends TeacherDefinition {
  readonly decoder?: Tokenizer;
}

const smallTransformer = { hidden: 96, depth: 4, heads: 4, mlp: 384, embeddingDeviation: 0.1 };

/** Name of the plugin's teacher, in messages and generator descriptions. */
export const maskgitName = 'maskgit';

/**
 * A teacher's definition from its configuration.
 *
 * @throws OptionError for an unknown or ill-typed key, or a transformer that does not fit the tokenizer.
 */
export function defineMaskgit(config: MaskgitConfig | PlainObject = {}): MaskgitDefinition {
  const given = requireObject(config, maskgitName);
  refuseUnknownKeys(given, ['transformer', 'tokenizer', 'classNames', 'sampler'], maskgitName);
  const { classNames, synonyms } = readClassNames(given['classNames']);
  const tokenizer =
    given['tokenizer'] === null
      ? undefined
      : defineTokenizer(
          requireObject(given['tokenizer'] ?? { kind: 'patch-vq' }, `${maskgitName}.tokenizer`),
          `${maskgitName}.tokenizer`,
        );
  const transformer = resolveMaskTransformer(
    {
      ...smallTransformer,
      numClasses: classNames?.length ?? 10,
      ...(tokenizer ? { codebookSize: tokenizer.tokenizer.codebookSize, grid: tokenizer.tokenizer.grid } : {}),
      ...requireObject(given['transformer'] ?? {}, `${maskgitName}.transformer`),
    } as MaskTransformerConfig,
    `${maskgitName}.transformer`,
  );
  const { numClasses, codebookSize, grid } = transformer;
  if (classNames && classNames.length !== numClasses)
    throw new OptionError(
      `${maskgitName}.classNames must name ${numClasses} classes (transformer.numClasses), got ${classNames.length}`,
    );
  if (tokenizer) checkFit(tokenizer.tokenizer, codebookSize, grid);
  const sampler = readSampler(given['sampler']);
  return {
    contract: contractVersion,
    name: maskgitName,
    model: maskTransformer(transformer),
    nullCondition: { label: int32([], [numClasses]) },
    conditions: classConditions({ numClasses, ...(classNames ? { classNames, synonyms } : {}) }),
    ...(tokenizer ? { decoder: tokenizer.tokenizer } : {}),
    ...(sampler ? { sampler } : {}),
    config: {
      transformer,
      tokenizer: tokenizer ? tokenizer.config : null,
      ...(classNames ? { classNames: given['classNames'] } : {}),
      ...(sampler ? { sampler } : {}),
    },
  };
}

function readClassNames(value: unknown): Pick<ClassConditionsOptions, 'classNames' | 'synonyms'> {
  if (value === undefined || value === null) return {};
  if (value === imagenetClassNames) {
    const classes = imagenetClasses();
    if (!classes) return {};
    return { classNames: classes.map(([name]) => name), synonyms: classes.map(([, ...others]) => others) };
  }
  if (!Array.isArray(value) || value.length === 0 || !value.every((name) => typeof name === 'string' && name !== ''))
    throw new OptionError(
      `${maskgitName}.classNames must be a list of non-empty strings, or "${imagenetClassNames}", got ${describeValue(value)}`,
    );
  return { classNames: value as readonly string[] };
}

function readSampler(value: unknown): SamplerSettings | undefined {
  return value === undefined ? undefined : readSamplerSettings(value, `${maskgitName}.sampler`);
}

function checkFit(tokenizer: Tokenizer, codebookSize: number, grid: readonly [number, number]): void {
  if (tokenizer.codebookSize !== codebookSize)
    throw new OptionError(
      `${maskgitName}.transformer.codebookSize must be the tokenizer's ${tokenizer.codebookSize}, got ${codebookSize}`,
    );
  if (tokenizer.grid[0] !== grid[0] || tokenizer.grid[1] !== grid[1])
    throw new OptionError(
      `${maskgitName}.transformer.grid must be the tokenizer's [${tokenizer.grid.join(', ')}], got [${grid.join(', ')}]`,
    );
}
