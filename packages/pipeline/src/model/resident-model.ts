/**
 * A model on an engine: conditions prepared, weights uploaded and functions compiled when they are first needed, and kept.
 * Commands, the server, the page's worker and applications all draw with this.
 */
import {
  int32,
  numRows,
  OptionError,
  prepareTeacher,
  sequenceLength,
  takeRows,
  type CompiledDecoder,
  type CompiledFunction,
  type DeviceTree,
  type Engine,
  type HostTensor,
  type HostTree,
  type LoadedGenerator,
  type PreparedTeacher,
  type SamplerRegistry,
  type Teacher,
  type TeacherDefinition,
  compileDecoder,
} from '@dimo/core';
import type { Tensor4D } from '@tensorflow/tfjs-core';
import { cancelled } from './cancellation.js';
import { decoderBatchSize } from './decoder.js';
import type { SampleKey } from './draws.js';
import { inOrder } from './in-order.js';
import { lastUsed } from './last-used.js';
import { compileNetwork, type CompiledNetwork, type KnownTokens, type NetworkSettings } from './network.js';

/** What a model consists of: a one-step generator, a teacher, or both of one kind. */
export interface ModelParts {
  readonly teacher?: Teacher | undefined;
  readonly generator?: LoadedGenerator | undefined;
}

/** How a model is put on an engine. */
export interface ResidentModelOptions {
  /** Samplers by name. @default those of core */
  readonly samplers?: SamplerRegistry;
  /**
   * Whether weights leave the host as they are uploaded. Each part can then be released once and not used again: for large
   * models that draw once. @default false
   */
  readonly move?: boolean;
  /** Run each function once when it is compiled, so that times that are taken are those of the work. @default false */
  readonly warmsUp?: boolean;
}

/** What to draw. */
export interface TokensRequest {
  readonly network: NetworkSettings;
  /** One row a sample. */
  readonly condition: HostTree;
  /** What guidance leads away from, one row or one a sample; teachers only. @default the teacher's */
  readonly nullCondition?: HostTree | undefined;
  /** Which sample each row is. */
  readonly samples: readonly SampleKey[];
  /** Tokens of a given image, one row a sample. @default none */
  readonly known?: KnownTokens | undefined;
  /** Samples computed at once; the last batch is filled up. */
  readonly batchSize: number;
  /** Ends the drawing between steps and batches with an error of code `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Called once, when the functions are ready and the first random number is drawn next. */
  readonly onReady?: (() => void) | undefined;
  /** Called after each step of a teacher's batch and awaited. What it throws ends the drawing. */
  readonly onStep?: ((progress: StepProgress) => unknown) | undefined;
}

/** A step of a teacher. */
export interface StepProgress {
  /** Steps done, from 1. */
  readonly step: number;
  /** Most forward passes of a sample. */
  readonly numSteps: number;
  /** int32 [batchSize, L], masked ones included. */
  readonly tokens: HostTensor<'int32'>;
  /** Images of tokens while this call is under way, when `ResidentModel.images` would wait for its end. */
  images(tokens: HostTensor<'int32'>): Promise<HostTensor<'float32'> | undefined>;
}

/** What was drawn. */
export interface DrawnTokens {
  /** int32 [count, L]. */
  readonly tokens: HostTensor<'int32'>;
  /** Forward passes of each sample. */
  readonly passes: readonly number[];
  /** Most forward passes of a sample. */
  readonly maximumPasses: number;
}

/** Parts that hold memory on the engine. */
export type ModelPart = 'conditions' | 'networks' | 'decoder';

/** A model that draws. Calls are answered one after another. */
export interface ResidentModel {
  readonly engine: Engine;
  readonly parts: ModelParts;
  /** Architecture, conditions and decoder. */
  readonly definition: TeacherDefinition;
  /** The definition with conditions that are ready to use. */
  prepared(): Promise<TeacherDefinition>;
  /** @throws OptionError if the model lacks the network or the settings are wrong; DimoError `cancelled` */
  tokens(request: TokensRequest): Promise<DrawnTokens>;
  /**
   * Tokens of an image, int32 [1, L].
   *
   * @param image - float32 [H, W, C] in [0, 1].
   * @throws OptionError if the model cannot encode
   */
  encode(image: HostTensor<'float32'>): Promise<HostTensor<'int32'>>;
  /** Images float32 [count, H, W, C] in [0, 1]; undefined if the tokens are the product. */
  images(tokens: HostTensor<'int32'>, batchSize: number): Promise<HostTensor<'float32'> | undefined>;
  /** Gives up what a part holds on the engine; it is made again when it is needed. */
  release(part: ModelPart): Promise<void>;
  dispose(): Promise<void>;
}

/** Compiled networks and decoders that are kept. */
const maximumKept = 6;

/**
 * Puts a model on an engine. Nothing is uploaded or compiled before it is needed.
 *
 * @throws OptionError if there is neither teacher nor generator.
 */
export function residentModel(
  engine: Engine,
  parts: ModelParts,
  { samplers, move = false, warmsUp = false }: ResidentModelOptions = {},
): ResidentModel {
  const found = parts.teacher ?? parts.generator?.definition;
  if (!found) throw new OptionError('there is no model: neither a teacher nor a generator');
  const definition: TeacherDefinition = found;
  const decoderTree = parts.teacher?.decoderWeights ?? parts.generator?.decoderWeights;
  const networks = lastUsed<CompiledNetwork>(maximumKept);
  const decoders = lastUsed<CompiledDecoder>(maximumKept);
  const encoders = lastUsed<CompiledFunction>(1);
  const uploads = new Map<HostTree, Promise<DeviceTree>>();
  let preparing: Promise<PreparedTeacher<TeacherDefinition>> | undefined;
  /** Conditions that were made before they were released stay valid. */
  let ready: TeacherDefinition = definition;
  let isDisposed = false;
  let disposing: Promise<void> | undefined;

  function upload(tree: HostTree): Promise<DeviceTree> {
    const known = uploads.get(tree) ?? engine.upload(tree, { move });
    uploads.set(tree, known);
    known.catch(() => uploads.delete(tree));
    return known;
  }

  async function drop(tree: HostTree | undefined): Promise<void> {
    const known = tree && uploads.get(tree);
    if (!known) return;
    uploads.delete(tree);
    await (await known.catch(() => undefined))?.dispose();
  }

  async function prepared(): Promise<TeacherDefinition> {
    preparing ??= prepareTeacher(engine, definition, { move });
    const current = preparing;
    current.catch(() => {
      if (preparing === current) preparing = undefined;
    });
    ready = (await current).teacher;
    return ready;
  }

  /** One call after another: the functions that one uses are not given up by the next. */
  let last: Promise<unknown> = Promise.resolve();
  function inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = last.then(() => {
      if (isDisposed) throw new OptionError('this model was disposed', { hint: 'load it again' });
      return task();
    });
    last = result.catch(() => undefined);
    return result;
  }

  async function tokens(request: TokensRequest): Promise<DrawnTokens> {
    const { network: settings, condition, samples, batchSize, signal } = request;
    const total = numRows(condition);
    const numKnown = request.known?.tokens.shape[0] ?? total;
    if (numKnown !== total)
      throw new OptionError(`tokens: known tokens of ${numKnown} samples were given with ${total} conditions`);
    if (total !== samples.length || total === 0)
      throw new OptionError(`tokens: ${samples.length} samples were asked for with ${total} conditions`);
    throwIfAborted(signal);
    const key = JSON.stringify([batchSize, settings]);
    const network = await networks.get(key, () =>
      compileNetwork(engine, { ...parts, ready, batchSize, settings, samplers }),
    );
    const weights = await upload(parts[settings.kind]!.weights);
    if (warmsUp) await network.warmUp(weights, takeRows(condition, 0, batchSize));
    throwIfAborted(signal);
    request.onReady?.();
    const length = sequenceLength(definition.model.tokenSpace);
    const drawn = new Int32Array(total * length);
    const passes = new Array<number>(total).fill(1);
    let next = 0;
    let hasFailed = false;
    /** Draws batches until none is left. */
    async function lane(): Promise<void> {
      while (next < total && !hasFailed) {
        const first = next;
        next += batchSize;
        throwIfAborted(signal);
        const batch = samples.slice(first, first + batchSize);
        const { nullCondition, known, onStep } = request;
        const result = await network.sample(weights, {
          condition: takeRows(condition, first, batchSize),
          samples: batch,
          nullCondition: nullCondition && takeRows(nullCondition, first, batchSize),
          known: known && { ...known, tokens: tokensFrom(known, first, batchSize) },
          async onStep(step, soFar) {
            throwIfAborted(signal);
            await onStep?.({
              step: step + 1,
              numSteps: network.maximumPasses,
              tokens: soFar,
              images: (some) => images(some, batchSize),
            });
            throwIfAborted(signal);
          },
        });
        drawn.set(result.tokens.data.subarray(0, batch.length * length), first * length);
        passes.splice(first, batch.length, ...result.passes.slice(0, batch.length));
      }
    }
    const fail = (error: unknown): never => {
      hasFailed = true;
      throw error;
    };
    // While the device works for one batch, the host draws and decides for the other.
    const lanes = await Promise.allSettled([lane().catch(fail), lane().catch(fail)]);
    for (const result of lanes) if (result.status === 'rejected') throw result.reason;
    return { tokens: int32([total, length], drawn), passes, maximumPasses: network.maximumPasses };
  }

  async function images(drawn: HostTensor<'int32'>, batchSize: number): Promise<HostTensor<'float32'> | undefined> {
    const { decoder } = definition;
    if (!decoder || !decoderTree) return undefined;
    const size = decoderBatchSize(decoder.imageShape, batchSize);
    const weights = await upload(decoderTree);
    const compiled = await decoders.get(String(size), async () => {
      const made = await compileDecoder(engine, decoder, size);
      if (warmsUp) await made.decode(weights, int32([size, decoder.grid[0] * decoder.grid[1]]));
      return made;
    });
    return compiled.decode(weights, drawn);
  }

  async function encode(image: HostTensor<'float32'>): Promise<HostTensor<'int32'>> {
    const { decoder } = definition;
    const encodeOf = decoder?.encode?.bind(decoder);
    if (!decoder || !encodeOf || !decoderTree)
      throw new OptionError(`"${definition.name}" cannot encode images: there is no encoder beside its decoder`);
    const weights = await upload(decoderTree);
    const compiled = await encoders.get('', () =>
      engine.compile((state, { images }) => ({ outputs: { tokens: encodeOf(state, images as Tensor4D) } }), {
        state: decoder.parameters,
        inputs: { images: { dtype: 'float32', shape: [1, ...decoder.imageShape] } },
      }),
    );
    const { tokens } = await compiled.run(weights, { images: { ...image, shape: [1, ...image.shape] } });
    return tokens as HostTensor<'int32'>;
  }

  async function releaseNow(part: ModelPart): Promise<void> {
    switch (part) {
      case 'conditions': {
        const current = preparing;
        preparing = undefined;
        await (await current?.catch(() => undefined))?.dispose();
        return;
      }
      case 'networks':
        await networks.dispose();
        await drop(parts.generator?.weights);
        await drop(parts.teacher?.weights);
        return;
      case 'decoder':
        await encoders.dispose();
        await decoders.dispose();
        await drop(decoderTree);
        return;
      default:
        part satisfies never;
    }
  }

  return {
    engine,
    parts,
    definition,
    prepared: () => inTurn(prepared),
    tokens: (request) => inTurn(() => tokens(request)),
    encode: (image) => inTurn(() => encode(image)),
    images: (drawn, batchSize) => inTurn(() => images(drawn, batchSize)),
    release: (part) => inTurn(() => releaseNow(part)),
    dispose() {
      isDisposed = true;
      disposing ??= last.then(() =>
        inOrder((['networks', 'decoder', 'conditions'] as const).map((part) => () => releaseNow(part))),
      );
      return disposing;
    },
  };
}

function tokensFrom({ tokens }: KnownTokens, first: number, count: number): HostTensor<'int32'> {
  return takeRows({ tokens }, first, count)['tokens'] as HostTensor<'int32'>;
}

/** @throws DimoError with code `cancelled` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw cancelled(signal);
}
