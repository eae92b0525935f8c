/** A model that can be called: from prompts to pictures. */
import {
  builtInSamplers,
  describeValue,
  DimoError,
  gatherRows,
  OptionError,
  resolveSampler,
  type ConditionSource,
  type Engine,
  type EngineInfo,
  type HostTensor,
  type HostTree,
  type LoadedGenerator,
  type SamplerRegistry,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import {
  knownTokensOf,
  readGivenImage,
  requireEncoder,
  withKeptPixels,
  type GivenImage,
} from '../given/given-image.js';
import type { ReadImageFile } from '../given/pixels.js';
import { unlessAborted } from '../model/cancellation.js';
import { conditionsFor } from '../model/conditions.js';
import type { SampleKey } from '../model/draws.js';
import { inOrder } from '../model/in-order.js';
import type { NetworkSettings } from '../model/network.js';
import { residentModel, throwIfAborted, type ResidentModel } from '../model/resident-model.js';
import { imageAt, makePicture, type Picture, type SaveFile } from '../pictures/picture.js';
import {
  defaultBatchSize,
  checkGenerate,
  givenNames,
  type DrawingProgress,
  type GenerateOptions,
  type GenerateRequest,
  type NetworkKind,
  type Prompts,
} from './options.js';
import { createQueue, type Job } from './queue.js';

/** A model that can be called. */
export interface Generate {
  /**
   * Draws pictures. Calls at the same time share batches where their settings are equal, which changes no picture.
   *
   * @param prompts - texts, or classes by name or id; picture i takes prompt i, from the first again after the last.
   *   @default the classes in turn, so that a count as large as there are classes draws each once; random conditions where
   *   classes have no names
   * @throws OptionError for a prompt or option that is not understood, before anything is drawn; if `onProgress` throws, with
   *   what it threw as the cause.
   * @throws DimoError with code `cancelled` if the signal says so, `device` if the device fails.
   */
  (prompts?: Prompts, options?: GenerateOptions): Promise<Picture[]>;
  /** As a call, but gives each picture as soon as it is drawn. Leaving the loop stops the drawing. */
  stream(prompts?: Prompts, options?: GenerateOptions): AsyncGenerator<Picture, void, undefined>;
  /** Name of the model: that of the preset, or the folder. */
  readonly model: string;
  /** What it has: a one-step generator, a teacher for several steps, or both. */
  readonly networks: readonly NetworkKind[];
  /** Class names by id; undefined where conditions are texts. */
  readonly classNames: readonly string[] | undefined;
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly engine: EngineInfo;
  /** One sentence: which engine was picked, and why. */
  readonly explanation: string;
  /** Waits for calls that were made before and gives up everything; the engine too, unless it was given. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a callable model is made from. */
export interface GenerateParts {
  readonly model: string;
  readonly engine: Engine;
  readonly explanation?: string;
  /** Whether `dispose` disposes the engine. */
  readonly ownsEngine: boolean;
  /** Read when a call needs it. One of them is there. */
  readonly generator?: (() => Promise<LoadedGenerator>) | undefined;
  readonly teacher?: (() => Promise<Teacher>) | undefined;
  readonly samplers?: SamplerRegistry | undefined;
  /** Pictures computed at once, a power of two. @default defaultBatchSize */
  readonly batchSize?: number | undefined;
  readonly saveFile: SaveFile;
  /** Reads the file of an image that a call begins with. @default paths are refused */
  readonly readImage?: ReadImageFile | undefined;
}

interface DrawnPicture {
  readonly image: HostTensor<'float32'>;
  readonly tokens: HostTensor<'int32'>;
  readonly passes: number;
}

interface PictureJob extends Job<DrawnPicture> {
  readonly network: NetworkSettings;
  /** Whether a mask says which tokens of a given image are kept. */
  readonly isMasked: boolean;
}

/** Makes a model callable. @throws OptionError if it makes no images; what reading it throws */
export async function createGenerate(parts: GenerateParts): Promise<Generate> {
  const { model, engine, samplers = builtInSamplers, batchSize = defaultBatchSize } = parts;
  const kinds = (['generator', 'teacher'] as const).filter((kind) => parts[kind] !== undefined);
  const residents = new Map<NetworkKind, Promise<ResidentModel>>();
  /** Calls that have not settled. */
  const open = new Set<Promise<unknown>>();
  let disposing: Promise<void> | undefined;

  /** The network's model; each has its own conditions and decoder, so that neither waits for the other's weights. */
  function resident(kind: NetworkKind): Promise<ResidentModel> {
    const known =
      residents.get(kind) ??
      (async () =>
        residentModel(
          engine,
          kind === 'generator' ? { generator: await parts.generator!() } : { teacher: await parts.teacher!() },
          { samplers },
        ))();
    residents.set(kind, known);
    known.catch(() => residents.delete(kind));
    return known;
  }

  const { definition } = await resident(kinds[0]!);
  const { decoder, conditions } = definition;
  if (!decoder)
    throw new OptionError(`"${model}" makes tokens, not images; a pipeline draws images`, {
      hint: 'sample the tokens with compileOneStep or compileMultiStep of @dimo/core',
    });
  const [, , channels] = decoder.imageShape;
  if (channels !== 1 && channels !== 3 && channels !== 4)
    throw new OptionError(`"${model}" makes images of ${channels} channels; a pipeline draws images of 1, 3 or 4`, {
      hint: 'decode the tokens with openDecoder',
    });

  const queue = createQueue<PictureJob, DrawnPicture>(batchSize, async (batch, { network, isMasked }) => {
    const { tokens: drawTokens, images } = await resident(network.kind);
    const given = batch.known?.['tokens'] as HostTensor<'int32'> | undefined;
    const known = given && { tokens: given, isKept: isMasked };
    const { tokens, passes } = await drawTokens({ ...batch, network, known });
    throwIfAborted(batch.signal);
    const pixels = await images(tokens, batch.batchSize);
    return passes.map((count, i) => ({
      image: imageAt(pixels!, i),
      tokens: tokenRow(tokens, i),
      passes: count,
    }));
  });

  /** Checks a call before anything else is done with what it was given. */
  function check(prompts: Prompts | undefined, options: GenerateOptions): GenerateRequest {
    if (disposing) throw new OptionError(`"${model}" was disposed`, { hint: 'make the pipeline again' });
    const request = checkGenerate(prompts, options, { model, kinds, samplers });
    if (request.given) requireEncoder(decoder!, model, givenNames);
    return request;
  }

  /** Conditions of the network, ready to use; read and prepared when they are first needed. */
  async function conditionsOf({ network, negativePrompt }: GenerateRequest): Promise<ConditionSource> {
    const ready = await resident(network.kind);
    if (network.kind === 'teacher') checkSampler(network, ready.definition, samplers, negativePrompt);
    return (await ready.prepared()).conditions;
  }

  /** Tokens of a given image that the samples know. */
  async function knownTokens(given: GivenImage, kind: NetworkKind, samples: readonly SampleKey[]): Promise<HostTree> {
    const { encode, definition: own } = await resident(kind);
    return { tokens: knownTokensOf(given, await encode(given.image), samples, own.model.tokenSpace) };
  }

  async function draw(
    request: GenerateRequest,
    { signal, onProgress }: GenerateOptions,
    deliver: (picture: Picture) => void,
  ): Promise<void> {
    const { network, count, seed, firstIndex, negativePrompt } = request;
    throwIfAborted(signal);
    const readFile = parts.readImage ?? refuseFiles;
    const given = request.given && (await readGivenImage(request.given, decoder!, { names: givenNames, readFile }));
    const source = await unlessAborted(conditionsOf(request), signal);
    const { condition, labels } = await conditionsFor(source, count, { prompts: request.prompts, seed, firstIndex });
    const nullCondition = negativePrompt === undefined ? undefined : await source.parse([negativePrompt]);
    throwIfAborted(signal);
    const samples = Array.from({ length: count }, (_, i) => ({ seed, index: firstIndex + i }));
    const known = given && (await knownTokens(given, network.kind, samples));
    throwIfAborted(signal);
    const classNames = classNamesOf(source, condition);
    const report = (progress: DrawingProgress): void => {
      try {
        onProgress?.(progress);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        throw new OptionError(`generate: onProgress failed: ${message}`, { cause: error });
      }
    };
    let done = 0;
    await queue.run({
      key: JSON.stringify([network, nullCondition !== undefined, given !== undefined, given?.drawn !== undefined]),
      network,
      isMasked: given?.drawn !== undefined,
      samples,
      condition,
      nullCondition,
      known,
      signal,
      deliver({ image: decoded, tokens, passes }, { index }) {
        const image = given ? withKeptPixels(given, decoded) : decoded;
        const prompt = labels[index - firstIndex] ?? '';
        const className = classNames(index - firstIndex);
        const content = { image, tokens, passes, prompt, className, seed, index };
        deliver(makePicture(content, parts.saveFile));
        done++;
        report({ done, count, step: passes, numSteps: passes });
      },
      onStep: ({ step, numSteps }) => report({ done, count, step, numSteps }),
    });
  }

  /** Draws; `dispose` waits for it from now on. */
  function drawSafely(...args: Parameters<typeof draw>): Promise<void> {
    const drawing = draw(...args).catch((error: unknown) => {
      throw asDimoError(error, `"${model}"`);
    });
    open.add(drawing);
    const close = (): unknown => open.delete(drawing);
    drawing.then(close, close);
    return drawing;
  }

  async function call(prompts?: Prompts, options: GenerateOptions = {}): Promise<Picture[]> {
    const pictures: Picture[] = [];
    await drawSafely(check(prompts, options), options, (picture) => pictures.push(picture));
    return pictures;
  }

  async function* stream(prompts?: Prompts, options: GenerateOptions = {}): AsyncGenerator<Picture, void, undefined> {
    const request = check(prompts, options);
    const stop = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
    const ready: Picture[] = [];
    let failure: { readonly error: unknown } | undefined;
    let isDone = false;
    let wake = (): void => undefined;
    const running = drawSafely(request, { ...options, signal }, (picture) => {
      ready.push(picture);
      wake();
    })
      .catch((error: unknown) => (failure = { error }))
      .finally(() => {
        isDone = true;
        wake();
      });
    try {
      for (;;) {
        const next = ready.shift();
        if (next) yield next;
        else if (failure) throw failure.error;
        else if (isDone) return;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      stop.abort();
      await running;
    }
  }

  function dispose(): Promise<void> {
    disposing ??= giveUp();
    return disposing;
  }

  async function giveUp(): Promise<void> {
    await Promise.allSettled(open);
    await queue.idle();
    await inOrder([
      ...[...residents.values()].map((known) => async () => (await known.catch(() => undefined))?.dispose()),
      ...(parts.ownsEngine ? [() => engine.dispose()] : []),
    ]);
  }

  return Object.assign(call, {
    stream,
    model,
    networks: kinds,
    classNames: conditions.classNames,
    imageShape: decoder.imageShape,
    engine: engine.info,
    explanation: parts.explanation ?? '',
    dispose,
    [Symbol.asyncDispose]: dispose,
  });
}

/** @throws OptionError for a sampler or option that the teacher cannot be asked for */
function checkSampler(
  network: Extract<NetworkSettings, { readonly kind: 'teacher' }>,
  { sampler }: Pick<TeacherDefinition, 'sampler'>,
  samplers: SamplerRegistry,
  negativePrompt: string | undefined,
): void {
  const { options } = resolveSampler(network.sampler, sampler, samplers, 'generate: sampler');
  if (negativePrompt !== undefined && options['guidanceScale'] === 1)
    throw new OptionError('generate: a negative prompt has no effect without guidance, and the guidance scale is 1', {
      hint: 'set sampler.guidanceScale to another number, or leave the negative prompt out',
    });
}

/** Names of the classes that are drawn, by row: of the ids that the condition holds, however they were typed. */
function classNamesOf({ classNames }: ConditionSource, condition: HostTree): (row: number) => string | undefined {
  const [ids, ...more] = Object.values(condition);
  const isClass = ids?.dtype === 'int32' && ids.shape.length === 1 && more.length === 0;
  return (row) => (isClass ? classNames?.[Number(ids.data[row])] : undefined);
}

async function refuseFiles(path: string): Promise<never> {
  await Promise.resolve();
  throw new OptionError(`generate: no files are read here, so an image cannot be a path; got ${describeValue(path)}`, {
    hint: 'give ImageData, pixels { width, height, data }, or a picture',
  });
}

function tokenRow(tokens: HostTensor<'int32'>, row: number): HostTensor<'int32'> {
  const taken = gatherRows(tokens, [row]);
  return { ...taken, shape: taken.shape.slice(1) };
}

/** Errors of the family as they are; others as defects, with where they came from. */
export function asDimoError(error: unknown, where: string): unknown {
  if (DimoError.isInstance(error)) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new DimoError('internal', `${where}: ${message}`, { hint: 'please report this', cause: error });
}
