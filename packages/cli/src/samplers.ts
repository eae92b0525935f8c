/** Teachers and generators behind one interface: conditions in, tokens (and images) out. */
import {
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
  type MultiStepOptions,
  type SamplingOptions,
  type Teacher,
} from '@dimo/core';

/** Draws samples; sample i depends on the seed and i alone. */
export interface Sampler {
  /** Forward passes per sample. */
  readonly numSteps: number;
  /** Tokens int32 [count, L]. */
  tokens(condition: HostTree, seed: number): Promise<HostTensor<'int32'>>;
  /** Images float32 [count, H, W, C] in [0, 1]; absent if the tokens are the product. */
  readonly images?: (tokens: HostTensor<'int32'>) => Promise<HostTensor<'float32'>>;
  dispose(): Promise<void>;
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
  const { embeddingNoise = description.tokenInit.embeddingNoise } = asked;
  return {
    tokenInit: { ...description.tokenInit, embeddingNoise } satisfies GeneratorTokenInit,
    sampling: { temperature, topK, topP } satisfies SamplingOptions,
  };
}

/** A sampler of a generator: one step. */
export async function generatorSampler(
  engine: Engine,
  generator: LoadedGenerator,
  options: { readonly batchSize: number } & ReturnType<typeof samplingOf>,
): Promise<Sampler> {
  const { definition } = generator;
  const sampler = await compileOneStep(engine, definition.model, options);
  const weights = await engine.upload(generator.weights);
  const decoder = await decoderOf(engine, definition, generator.decoderWeights, options.batchSize);
  return {
    numSteps: 1,
    tokens: (condition, seed) => sampleOneStep(sampler, { weights, condition, seed }),
    ...(decoder ? { images: decoder.images } : {}),
    async dispose() {
      await sampler.dispose();
      await weights.dispose();
      await decoder?.dispose();
    },
  };
}

/** A sampler of a teacher: several steps. */
export async function teacherSampler(
  engine: Engine,
  teacher: Teacher,
  options: { readonly batchSize: number; readonly sampler: MultiStepOptions },
): Promise<Sampler> {
  const sampler = await compileMultiStep(engine, teacher, {
    ...teacher.sampler,
    ...options.sampler,
    batchSize: options.batchSize,
  });
  const weights = await engine.upload(teacher.weights);
  const decoder = await decoderOf(engine, teacher, teacher.decoderWeights, options.batchSize);
  return {
    numSteps: sampler.options.numSteps,
    tokens: (condition, seed) => sampleMultiStep(sampler, teacher.model, { weights, condition, seed }),
    ...(decoder ? { images: decoder.images } : {}),
    async dispose() {
      await sampler.dispose();
      await weights.dispose();
      await decoder?.dispose();
    },
  };
}

/** The decoder of a teacher definition, compiled, with its weights on the device. */
export async function decoderOf(
  engine: Engine,
  definition: Pick<Teacher, 'decoder'>,
  decoderWeights: HostTree | undefined,
  batchSize: number,
): Promise<
  { images(tokens: HostTensor<'int32'>): Promise<HostTensor<'float32'>>; dispose(): Promise<void> } | undefined
> {
  if (!definition.decoder || !decoderWeights) return undefined;
  const compiled = await compileDecoder(engine, definition.decoder, batchSize);
  const weights = await engine.upload(decoderWeights);
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

/** Largest range that `--classes` expands. */
const maximumClasses = 100_000;

/**
 * `0-9` and `3,cat` as a list. A name that holds a comma or looks like a range can be given alone if it is a class name.
 *
 * @throws OptionError for an empty part or a range that does not ascend.
 */
export function parseClasses(text: string, classNames: readonly string[] | undefined): string[] {
  if (classNames?.includes(text)) return [text];
  const parts = text.split(',').map((part) => part.trim());
  const classes: string[] = [];
  for (const part of parts) {
    if (part === '') throw new OptionError(`classes: "${text}" has an empty part; write 0-9 or 3,5,7`);
    const range = /^(\d{1,9})-(\d{1,9})$/.exec(part);
    if (!range) {
      classes.push(part);
      continue;
    }
    const [from, to] = [Number(range[1]), Number(range[2])];
    if (from > to || to - from >= maximumClasses)
      throw new OptionError(`classes: the range "${part}" must ascend and hold at most ${maximumClasses} classes`);
    for (let id = from; id <= to; id++) classes.push(String(id));
  }
  return classes;
}
