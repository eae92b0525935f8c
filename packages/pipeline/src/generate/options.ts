/** What is asked of a pipeline, checked before anything is loaded or drawn. */
import {
  describeValue,
  OptionError,
  refuseUnknownKeys,
  requireInteger,
  requireObject,
  resolveSampler,
  resolveSampling,
  type SamplerRegistry,
  type SamplerSettings,
} from '@dimo/core';
import {
  checkGivenImage,
  type GivenImageNames,
  type GivenImageOptions,
  type GivenImageRequest,
} from '../given/given-image.js';
import type { NetworkSettings } from '../model/network.js';

/** How far a call has come. */
export interface DrawingProgress {
  /** Pictures that are drawn, of how many. */
  readonly done: number;
  readonly count: number;
  /** Forward passes of the batch at work, and most of them that it takes. */
  readonly step: number;
  readonly numSteps: number;
}

/** Prompts or classes, by name or id. */
export type Prompts = string | number | readonly (string | number)[];

/** Options of a call. */
export interface GenerateOptions extends GivenImageOptions {
  /** Pictures in all, 1 to 10000; prompts are taken in turn. @default one of each prompt */
  readonly count?: number | undefined;
  /** 0 to 2^53 - 1. Picture i of a seed is the same in every call. @default a random one, which the pictures tell */
  readonly seed?: number | undefined;
  /** Index of the first picture: the next ones of a seed. @default 0 */
  readonly firstIndex?: number | undefined;
  /** Asks the teacher, in so many steps. @default the one-step generator, where there is one */
  readonly steps?: number | undefined;
  /** Asks the teacher: the name of a sampler, or its name and options. @default that of the teacher */
  readonly sampler?: string | SamplerSettings | undefined;
  /** Divides the logits. @default what the model recommends */
  readonly temperature?: number | undefined;
  /** Only the k most probable ids; 0 for all. */
  readonly topK?: number | undefined;
  /** Only the most probable ids up to this mass, in [0, 1]; 0 for all. */
  readonly topP?: number | undefined;
  /** Scale of the noise on the embeddings, in [0, 1]; one-step generators only. */
  readonly embeddingNoise?: number | undefined;
  /** What the pictures shall not look like; guided teachers only. */
  readonly negativePrompt?: string | undefined;
  /** Stops with an error of code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: DrawingProgress) => void) | undefined;
}

/** A checked call. */
export interface GenerateRequest {
  /** One each; empty for whatever the model draws. */
  readonly prompts: readonly string[];
  readonly count: number;
  readonly seed: number;
  readonly firstIndex: number;
  readonly network: NetworkSettings;
  readonly negativePrompt: string | undefined;
  /** An image to begin with. */
  readonly given: GivenImageRequest | undefined;
}

/** Options of an image to begin with, in messages. */
export const givenNames: GivenImageNames = {
  image: 'generate: image',
  mask: 'generate: mask',
  strength: 'generate: strength',
  composite: 'generate: composite',
};

/** Which networks a model has. */
export type NetworkKind = NetworkSettings['kind'];

const knownKeys = [
  'count',
  'seed',
  'firstIndex',
  'steps',
  'sampler',
  'temperature',
  'topK',
  'topP',
  'embeddingNoise',
  'negativePrompt',
  'image',
  'mask',
  'strength',
  'composite',
  'signal',
  'onProgress',
];

/** Pictures that are computed at once. */
export const defaultBatchSize = 8;

const maximumCount = 10_000;

/** Characters of a prompt. */
const maximumPromptLength = 10_000;

/** Checks a call. @throws OptionError naming the first thing that is wrong */
export function checkGenerate(
  prompts: Prompts | undefined,
  asked: GenerateOptions,
  {
    model,
    kinds,
    samplers,
  }: { readonly model: string; readonly kinds: readonly NetworkKind[]; readonly samplers: SamplerRegistry },
): GenerateRequest {
  const options = requireObject(asked, 'generate: options') as GenerateOptions;
  refuseUnknownKeys(options as Record<string, unknown>, knownKeys, 'generate');
  const texts = readPrompts(prompts);
  const { count = Math.max(1, texts.length), seed = randomSeed(), firstIndex = 0, negativePrompt, signal } = options;
  requireInteger(count, 'generate: count', 1, undefined, maximumCount);
  requireInteger(seed, 'generate: seed', 0, undefined, Number.MAX_SAFE_INTEGER);
  requireInteger(firstIndex, 'generate: firstIndex', 0);
  if (negativePrompt !== undefined && typeof negativePrompt !== 'string')
    throw new OptionError(`generate: negativePrompt must be a text, got ${typeof negativePrompt}`);
  if (signal !== undefined && !isSignal(signal)) throw new OptionError('generate: signal must be an AbortSignal');
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
    throw new OptionError('generate: onProgress must be a function');
  const network = networkOf(options, model, kinds);
  if (network.kind === 'generator' && negativePrompt !== undefined)
    throw new OptionError('generate: a one-step generator is not guided, so a negative prompt has no effect on it', {
      hint: kinds.includes('teacher') ? 'set steps or sampler to ask the teacher' : 'leave it out',
    });
  const given = checkGivenImage(options, givenNames);
  // Without a name it is the teacher's own sampler, which is checked when the teacher is there.
  if (network.kind === 'teacher' && network.sampler?.name !== undefined)
    resolveSampler(network.sampler, {}, samplers, 'generate: sampler');
  return { prompts: texts, count, seed, firstIndex, network, negativePrompt, given };
}

function networkOf(options: GenerateOptions, model: string, kinds: readonly NetworkKind[]): NetworkSettings {
  const { steps, sampler, temperature, topK, topP, embeddingNoise } = options;
  const drawing = Object.fromEntries(
    Object.entries({ temperature, topK, topP }).filter(([, value]) => value !== undefined),
  );
  resolveSampling(drawing, 'generate');
  if (steps !== undefined) requireInteger(steps, 'generate: steps', 1);
  const asksTeacher = steps !== undefined || sampler !== undefined;
  if (asksTeacher && !kinds.includes('teacher'))
    throw new OptionError(
      `generate: "${model}" is a one-step generator without its teacher, so it takes no ${steps === undefined ? 'sampler' : 'steps'}`,
      { hint: 'leave steps and sampler out, or load the folder of a teacher' },
    );
  if (!asksTeacher && kinds.includes('generator')) {
    requireNumber(embeddingNoise, 'embeddingNoise');
    if (embeddingNoise !== undefined && !(embeddingNoise >= 0 && embeddingNoise <= 1))
      throw new OptionError(`generate: embeddingNoise must be a number in [0, 1], got ${String(embeddingNoise)}`);
    return { kind: 'generator', ...drawing, ...(embeddingNoise === undefined ? {} : { embeddingNoise }) };
  }
  if (embeddingNoise !== undefined)
    throw new OptionError('generate: embeddingNoise is for one-step generators; the teacher is asked');
  if (sampler !== undefined && typeof sampler !== 'string') requireObject(sampler, 'generate: sampler');
  return {
    kind: 'teacher',
    sampler: {
      ...(typeof sampler === 'string' ? { name: sampler } : sampler),
      ...(steps === undefined ? {} : { numSteps: steps }),
      ...drawing,
    },
  };
}

function requireNumber(value: unknown, name: string): void {
  if (value !== undefined && typeof value !== 'number')
    throw new OptionError(`generate: ${name} must be a number, got ${describeValue(value)}`);
}

function isSignal(value: unknown): boolean {
  const { addEventListener, aborted } = (value ?? {}) as Partial<AbortSignal>;
  return typeof addEventListener === 'function' && typeof aborted === 'boolean';
}

function readPrompts(prompts: Prompts | undefined): string[] {
  const list: readonly unknown[] = prompts === undefined ? [] : Array.isArray(prompts) ? prompts : [prompts];
  if (Array.isArray(prompts) && list.length === 0)
    throw new OptionError('generate: there are no prompts; give one, or leave them out');
  if (list.length > maximumCount)
    throw new OptionError(`generate: at most ${maximumCount} prompts at once, got ${list.length}`);
  // Holes of a list are no prompts either.
  return Array.from(list, (prompt, i) => {
    const where = list.length > 1 ? `prompt ${i + 1}` : 'the prompt';
    if (typeof prompt === 'number' && Number.isInteger(prompt) && prompt >= 0) return String(prompt);
    if (typeof prompt !== 'string')
      throw new OptionError(
        `generate: ${where} must be a text, or a class by name or id, got ${typeof prompt === 'number' ? prompt : typeof prompt}`,
      );
    if (prompt.length > maximumPromptLength)
      throw new OptionError(
        `generate: ${where} has ${prompt.length} characters, at most ${maximumPromptLength} are allowed`,
      );
    return prompt;
  });
}

function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
