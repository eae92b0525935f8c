/** Teachers and generators behind one interface: conditions in, tokens (and images) out. */
import {
  oneStepTokenInit,
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  DimoError,
  OptionError,
  randomStream,
  sampleMultiStep,
  sampleOneStep,
  type ConditionSource,
  type Engine,
  type GeneratorTokenInit,
  type HostTensor,
  type HostTree,
  type LoadedGenerator,
  type SamplerRegistry,
  type SamplerSettings as MultiStepSettings,
  type SamplingOptions,
  type Teacher,
  type UploadOptions,
} from '@dimo/core';

/** Draws tokens; sample i depends on the seed and i alone. */
export interface TokenSampler {
  /** Forward passes per sample. */
  readonly numSteps: number;
  /** Mean number of forward passes of the last samples, for samplers that take as many as they need. */
  meanPasses?(): number;
  /** Tokens int32 [count, L]. `nullCondition`, with one row: what guidance leads away from, for teachers. */
  tokens(condition: HostTree, seed: number, nullCondition?: HostTree): Promise<HostTensor<'int32'>>;
  dispose(): Promise<void>;
}

/** Draws samples. */
export interface Sampler extends TokenSampler {
  /** Images float32 [count, H, W, C] in [0, 1]; absent if the tokens are the product. */
  readonly images?: (tokens: HostTensor<'int32'>) => Promise<HostTensor<'float32'>>;
}

/** A multi-step sampler and those that it may be chosen among. */
export interface AskedSampler {
  readonly sampler: MultiStepSettings;
  readonly samplers: SamplerRegistry;
}

/** How a sampler is made. */
export interface SamplerSettings extends UploadOptions {
  readonly batchSize: number;
}

/** What may be asked for when a generator is sampled. */
export interface GeneratorSamplingRequest {
  readonly temperature?: number | undefined;
  readonly embeddingNoise?: number | undefined;
  readonly topK: number;
  readonly topP: number;
}

/** How a generator is sampled: as asked for, else with the temperature and noise of its description. */
export function samplingOf({ description }: Pick<LoadedGenerator, 'description'>, asked: GeneratorSamplingRequest) {
  const { temperature = description.temperature ?? 1, topK, topP } = asked;
  const tokenInit = oneStepTokenInit(description);
  const { embeddingNoise = tokenInit.embeddingNoise } = asked;
  return {
    tokenInit: { ...tokenInit, embeddingNoise } satisfies GeneratorTokenInit,
    sampling: { temperature, topK, topP } satisfies SamplingOptions,
  };
}

/** A sampler of a generator, with its decoder: one step. */
export async function generatorSampler(
  engine: Engine,
  generator: LoadedGenerator,
  options: SamplerSettings & ReturnType<typeof samplingOf>,
): Promise<Sampler> {
  const sampler = await generatorTokens(engine, generator, options);
  return withDecoder(sampler, await decoderOf(engine, generator.definition, generator.decoderWeights, options));
}

/** The tokens of a generator: one step. */
export async function generatorTokens(
  engine: Engine,
  { definition, weights: tree }: Pick<LoadedGenerator, 'definition' | 'weights'>,
  { move = false, ...options }: SamplerSettings & ReturnType<typeof samplingOf>,
): Promise<TokenSampler> {
  const sampler = await compileOneStep(engine, definition.model, options);
  const weights = await engine.upload(tree, { move });
  return {
    numSteps: 1,
    tokens: (condition, seed) => sampleOneStep(sampler, { weights, condition, seed }),
    async dispose() {
      await sampler.dispose();
      await weights.dispose();
    },
  };
}

/** A sampler of a teacher, with its decoder: several steps. */
export async function teacherSampler(
  engine: Engine,
  teacher: Teacher,
  options: SamplerSettings & AskedSampler,
): Promise<Sampler> {
  const sampler = await teacherTokens(engine, teacher, options);
  return withDecoder(sampler, await decoderOf(engine, teacher, teacher.decoderWeights, options));
}

/** The tokens of a teacher: several steps. */
export async function teacherTokens(
  engine: Engine,
  teacher: Teacher,
  { batchSize, move = false, sampler: asked, samplers }: SamplerSettings & AskedSampler,
): Promise<TokenSampler> {
  const sampler = await compileMultiStep(engine, teacher, { batchSize, sampler: asked, samplers });
  const weights = await engine.upload(teacher.weights, { move });
  let mean = 0;
  return {
    numSteps: sampler.maximumPasses,
    meanPasses: () => mean,
    tokens: (condition, seed, nullCondition) =>
      sampleMultiStep(sampler, teacher.model, {
        weights,
        condition,
        seed,
        ...(nullCondition ? { nullCondition } : {}),
        onPasses(counts) {
          mean = counts.reduce((sum, count) => sum + count, 0) / Math.max(1, counts.length);
        },
      }),
    async dispose() {
      await sampler.dispose();
      await weights.dispose();
    },
  };
}

/** A decoder on an engine. */
export interface OpenDecoder {
  images(tokens: HostTensor<'int32'>): Promise<HostTensor<'float32'>>;
  dispose(): Promise<void>;
}

function withDecoder(sampler: TokenSampler, decoder: OpenDecoder | undefined): Sampler {
  return {
    ...sampler,
    ...(decoder ? { images: decoder.images } : {}),
    async dispose() {
      await sampler.dispose();
      await decoder?.dispose();
    },
  };
}

/** Pixels that are decoded at once: one picture of 1024 x 1024, whose activations are gigabytes. */
const maximumPixels = 2 ** 20;

/** The decoder of a teacher definition, compiled, with its weights on the device; undefined if there is none. */
export async function decoderOf(
  engine: Engine,
  { decoder }: Pick<Teacher, 'decoder'>,
  decoderWeights: HostTree | undefined,
  { batchSize, move = false }: SamplerSettings,
): Promise<OpenDecoder | undefined> {
  if (!decoder || !decoderWeights) return undefined;
  const [height, width] = decoder.imageShape;
  const count = Math.max(1, Math.min(batchSize, Math.floor(maximumPixels / (height * width))));
  const compiled = await compileDecoder(engine, decoder, count);
  const weights = await engine.upload(decoderWeights, { move });
  return {
    images: (tokens) => compiled.decode(weights, tokens),
    async dispose() {
      await compiled.dispose();
      await weights.dispose();
    },
  };
}

/** Conditions of a batch of samples, with what they are in words. */
export interface NamedConditions {
  readonly condition: HostTree;
  /** As typed or by class name; empty where conditions have no names. */
  readonly labels: readonly string[];
  /** How many different ones there are, for the columns of a grid. */
  readonly numDifferent: number;
}

/** What to sample. */
export interface ConditionRequest {
  /** Prompts or classes, one each; taken as they are. */
  readonly prompts?: readonly string[];
  /** Classes in the notation of `parseClasses`; only without prompts. */
  readonly classes?: string | undefined;
  readonly seed: number;
}

/**
 * Conditions for `count` samples: the prompts or classes that were named in turn, else all classes in turn, else random
 * ones.
 *
 * @throws OptionError for a prompt or class that the teacher does not understand.
 */
export async function conditionsFor(
  source: ConditionSource,
  count: number,
  { prompts = [], classes, seed }: ConditionRequest,
): Promise<NamedConditions> {
  if (prompts.length > 0 && classes !== undefined)
    throw new OptionError('prompts and classes exclude each other; give one of them');
  const texts =
    prompts.length > 0
      ? prompts
      : classes === undefined
        ? (source.classNames?.map((_, id) => String(id)) ?? [])
        : parseClasses(classes, source.classNames);
  if (texts.length === 0)
    return {
      condition: await drawConditions(source, count, seed),
      labels: [],
      numDifferent: 0,
    };
  const wanted = Array.from({ length: count }, (_, i) => texts[i % texts.length]!);
  return { condition: await source.parse(wanted), labels: wanted, numDifferent: texts.length };
}

async function drawConditions(source: ConditionSource, count: number, seed: number): Promise<HostTree> {
  try {
    return await source.sample(randomStream(seed, 0, 'sample/conditions'), count);
  } catch (error) {
    // Text models have nothing to draw from unless somebody writes it.
    if (!DimoError.isInstance(error) || error.code !== 'option') throw error;
    throw new OptionError(error.message, { hint: 'say what to generate: dimo sample "a red ball" ...', cause: error });
  }
}

/** Classes that `--classes` names at most. */
const maximumClasses = 100_000;

/**
 * `0-9` and `3,cat` as a list. A name that holds a comma or looks like a range can be given alone if it is a class name.
 *
 * @param maximum - classes in all; they are counted before a range is written out.
 * @throws OptionError for an empty part, a range that does not ascend, or more than `maximum` classes.
 */
export function parseClasses(
  text: string,
  classNames: readonly string[] | undefined,
  maximum: number = maximumClasses,
): string[] {
  if (classNames?.includes(text)) return [text];
  const parts = text.split(',').map((part) => part.trim());
  const tooMany = (): OptionError =>
    new OptionError(`classes: at most ${maximum} classes can be named, ranges written out`);
  if (parts.length > maximum) throw tooMany();
  const classes: string[] = [];
  for (const part of parts) {
    if (part === '') throw new OptionError(`classes: "${text}" has an empty part; write 0-9 or 3,5,7`);
    const range = /^(\d{1,9})-(\d{1,9})$/.exec(part);
    const [from, to] = range ? [Number(range[1]), Number(range[2])] : [0, 0];
    if (from > to) throw new OptionError(`classes: the range "${part}" must ascend`);
    if (classes.length + (to - from + 1) > maximum) throw tooMany();
    if (!range) {
      classes.push(part);
      continue;
    }
    for (let id = from; id <= to; id++) classes.push(String(id));
  }
  return classes;
}
