/** The two ways from conditions to tokens, a generator's one step and a teacher's several, behind one interface. */
import {
  compileMultiStep,
  compileOneStep,
  oneStepTokenInit,
  OptionError,
  putBackKnownTokens,
  resolveSampling,
  type DeviceTree,
  type Engine,
  type GeneratorTokenInit,
  type HostTensor,
  type HostTree,
  type LoadedGenerator,
  type SamplerRegistry,
  type SamplerSettings,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import { multiStepDraws, oneStepDraws, type SampleKey } from './draws.js';

/** What may be asked for when a generator is sampled. */
export interface GeneratorSettings {
  /** @default that of the generator's description, else that of core */
  readonly temperature?: number | undefined;
  /** Scale of the noise, in [0, 1]. @default that of the generator's description */
  readonly embeddingNoise?: number | undefined;
  readonly topK?: number | undefined;
  readonly topP?: number | undefined;
}

/** Which network draws, and how. */
export type NetworkSettings =
  | ({ readonly kind: 'generator' } & GeneratorSettings)
  /** `sampler`: name and options that go before the teacher's own. */
  | { readonly kind: 'teacher'; readonly sampler?: SamplerSettings | undefined };

/** Tokens of a given image, one row a sample. */
export interface KnownTokens {
  /** int32 [rows, L], the mask id where a token is drawn. */
  readonly tokens: HostTensor<'int32'>;
  /**
   * Whether a generator puts them back after its pass, which draws every position; else they are only what it begins with.
   * Teachers always keep them.
   */
  readonly isKept: boolean;
}

/** One batch. */
export interface NetworkBatch {
  readonly condition: HostTree;
  readonly nullCondition?: HostTree | undefined;
  /** At most batchSize; the rest is filled up. */
  readonly samples: readonly SampleKey[];
  /** One row for each of batchSize. */
  readonly known?: KnownTokens | undefined;
  onStep(step: number, tokens: HostTensor<'int32'>): Promise<void>;
}

/** A network that is compiled for one batch size. */
export interface CompiledNetwork {
  /** Most forward passes of a sample. */
  readonly maximumPasses: number;
  sample(
    weights: DeviceTree,
    batch: NetworkBatch,
  ): Promise<{ readonly tokens: HostTensor<'int32'>; readonly passes: readonly number[] }>;
  /** Runs the functions once; nothing where they have run. */
  warmUp(weights: DeviceTree, condition: HostTree): Promise<void>;
  dispose(): Promise<void>;
}

/** How a generator is sampled: as asked for, else with the temperature and noise of its description. */
export function samplingOf({ description }: Pick<LoadedGenerator, 'description'>, asked: GeneratorSettings) {
  const tokenInit = oneStepTokenInit(description);
  const { embeddingNoise = tokenInit.embeddingNoise } = asked;
  return {
    tokenInit: { ...tokenInit, embeddingNoise } satisfies GeneratorTokenInit,
    sampling: resolveSampling({
      temperature: asked.temperature ?? description.temperature,
      topK: asked.topK,
      topP: asked.topP,
    }),
  };
}

interface NetworkRequest {
  readonly teacher?: Teacher | undefined;
  readonly generator?: LoadedGenerator | undefined;
  /** Conditions and null condition that are ready. */
  readonly ready: TeacherDefinition;
  readonly batchSize: number;
  readonly settings: NetworkSettings;
  readonly samplers?: SamplerRegistry | undefined;
}

/** Compiles a network. @throws OptionError if the model has none of that kind, or a setting is wrong */
export function compileNetwork(engine: Engine, request: NetworkRequest): Promise<CompiledNetwork> {
  const { settings } = request;
  return settings.kind === 'generator'
    ? compileGenerator(engine, request, settings)
    : compileTeacher(engine, request, settings.sampler);
}

async function compileGenerator(
  engine: Engine,
  { generator, batchSize }: NetworkRequest,
  settings: GeneratorSettings,
): Promise<CompiledNetwork> {
  if (!generator)
    throw new OptionError('this model has no one-step generator; it is a teacher, sampled in several steps');
  const { model } = generator.definition;
  const sampler = await compileOneStep(engine, model, { batchSize, ...samplingOf(generator, settings) });
  const passes = new Array<number>(batchSize).fill(1);
  let isWarm = false;
  return {
    maximumPasses: 1,
    async sample(weights, { condition, nullCondition, samples, known }) {
      if (nullCondition)
        throw new OptionError('a negative prompt has no effect: one-step generators are sampled without guidance');
      const tokens = await sampler.sample(weights, condition, oneStepDraws(samples, sampler, known?.tokens));
      return { tokens: known?.isKept ? putBackKnownTokens(tokens, known.tokens, model.tokenSpace) : tokens, passes };
    },
    async warmUp(weights, condition) {
      if (!isWarm) await sampler.sample(weights, condition, oneStepDraws([{ seed: 0, index: 0 }], sampler));
      isWarm = true;
    },
    dispose: () => sampler.dispose(),
  };
}

async function compileTeacher(
  engine: Engine,
  { teacher, ready, batchSize, samplers }: NetworkRequest,
  asked: SamplerSettings | undefined,
): Promise<CompiledNetwork> {
  if (!teacher) throw new OptionError('this model has no teacher; it is a one-step generator alone');
  const { model } = teacher;
  const sampler = await compileMultiStep(
    engine,
    { model, nullCondition: ready.nullCondition, sampler: teacher.sampler },
    { batchSize, sampler: asked, samplers },
  );
  const drawsOf = (samples: readonly SampleKey[]) =>
    multiStepDraws(samples, { batchSize, tokenSpace: model.tokenSpace, sampling: sampler.sampling });
  let isWarm = false;
  return {
    maximumPasses: sampler.maximumPasses,
    async sample(weights, { condition, nullCondition, samples, known, onStep }) {
      let passes: readonly number[] = [];
      const tokens = await sampler.sample(weights, {
        condition,
        nullCondition,
        draws: drawsOf(samples),
        knownTokens: known?.tokens,
        onStep: ({ step, tokens: soFar }) => onStep(step, soFar),
        onPasses: (counts) => (passes = counts),
      });
      return { tokens, passes };
    },
    async warmUp(weights, condition) {
      if (isWarm) return;
      // The first step is without guidance, the second with it.
      const enough = new Error('warm');
      const onStep = ({ step }: { readonly step: number }): void => {
        if (step > 0) throw enough;
      };
      await sampler
        .sample(weights, { condition, draws: drawsOf([{ seed: 0, index: 0 }]), onStep })
        .catch((error: unknown) => {
          if (error !== enough) throw error;
        });
      isWarm = true;
    },
    dispose: () => sampler.dispose(),
  };
}
