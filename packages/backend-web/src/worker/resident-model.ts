/**
 * A model on an engine: weights uploaded, samplers compiled as they are asked for and run once, so that the times that are
 * told are those of the work and not of shaders being compiled.
 */
import {
  oneStepTokenInit,
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  DimoError,
  int32,
  OptionError,
  prepareTeacher,
  randomMultiStepDraws,
  randomOneStepDraws,
  type CompiledDecoder,
  type DeviceTree,
  type Engine,
  type HostTensor,
  type HostTree,
  type MultiStepSampler,
  type OneStepSampler,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import { letMessagesIn } from './let-messages-in.js';
import type { Frame, GenerateParameters, Generated } from './methods.js';
import { picturesOf } from './pictures.js';
import type { ModelFolder } from './read-model.js';

/** A model that is ready to generate on one engine. */
export interface ResidentModel {
  readonly engine: Engine;
  /** The teacher with conditions that are ready; its weights are on the host. */
  readonly teacher: Teacher | undefined;
  generate(
    request: GenerateParameters,
    context: { readonly signal: AbortSignal; emit(frame: Frame): void },
  ): Promise<Generated>;
  dispose(): Promise<void>;
}

/** Images computed at once; of larger requests the first ones only. */
export const maximumImages = 64;

/** Compiled samplers and decoders that are kept. */
const maximumKept = 4;

/** Puts a model on an engine. */
export async function residentModel(engine: Engine, folder: ModelFolder): Promise<ResidentModel> {
  const definition: TeacherDefinition = folder.teacher ?? folder.generator!.definition;
  const { decoder } = definition;
  const decoderTree = folder.teacher?.decoderWeights ?? folder.generator?.decoderWeights;
  if (!decoder || !decoderTree) throw new OptionError('this model makes tokens, not images; the page needs images');
  const prepared = await prepareTeacher(engine, definition);
  const uploads = new Map<HostTree, Promise<DeviceTree>>();
  const samplers = lastUsed<OneStepSampler | MultiStepSampler>(maximumKept);
  const decoders = lastUsed<CompiledDecoder>(2);

  function upload(tree: HostTree): Promise<DeviceTree> {
    const known = uploads.get(tree) ?? engine.upload(tree);
    uploads.set(tree, known);
    known.catch(() => uploads.delete(tree));
    return known;
  }

  /** One request after the other: the functions that one uses are not given up by the next. */
  let last: Promise<unknown> = Promise.resolve();
  function inTurn<T>(task: () => Promise<T>): Promise<T> {
    const result = last.then(task);
    last = result.catch(() => undefined);
    return result;
  }

  async function generate(
    request: GenerateParameters,
    { signal, emit }: { readonly signal: AbortSignal; emit(frame: Frame): void },
  ): Promise<Generated> {
    const { texts, seed, firstImage = 0, temperature, numSteps } = request;
    const count = texts.length;
    if (count < 1 || count > maximumImages)
      throw new OptionError(`generate: from 1 to ${maximumImages} images at once, got ${count}`);
    const condition = await prepared.teacher.conditions.parse(texts);
    const decoderWeights = await upload(decoderTree!);
    const compiledDecoder = await decoders.get(String(count), async () => {
      const compiled = await compileDecoder(engine, decoder!, count);
      const [rows, columns] = decoder!.grid;
      await compiled.decode(decoderWeights, int32([count, rows * columns]));
      return compiled;
    });
    const decode = async (tokens: HostTensor<'int32'>) =>
      picturesOf(await compiledDecoder.decode(decoderWeights, tokens));

    /** Time outside of the sampling itself. */
    let drawing = 0;
    let tokens: HostTensor<'int32'>;
    let passes = 1;
    let started: number;
    if (request.sampler === 'generator') {
      const { generator } = folder;
      if (!generator) throw new OptionError('this model has no one-step generator');
      const { temperature: recommended = 1 } = generator.description;
      const tokenInit = oneStepTokenInit(generator.description);
      const sampling = { temperature: temperature ?? recommended };
      const weights = await upload(generator.weights);
      const sampler = (await samplers.get(`generator ${count} ${sampling.temperature}`, async () => {
        const { model } = generator.definition;
        const compiled = await compileOneStep(engine, model, { batchSize: count, tokenInit, sampling });
        await compiled.sample(weights, condition, randomOneStepDraws(0, 0, compiled));
        return compiled;
      })) as OneStepSampler;
      started = performance.now();
      tokens = await sampler.sample(weights, condition, randomOneStepDraws(seed, firstImage, sampler));
    } else {
      const { teacher } = folder;
      if (!teacher) throw new OptionError('this model has no teacher');
      const options = { batchSize: count, ...(numSteps === undefined ? {} : { sampler: { numSteps } }) };
      const ready = prepared.teacher as Teacher;
      const weights = await upload(teacher.weights);
      const drawsFor = (of: number, first: number, { sampling }: MultiStepSampler) =>
        randomMultiStepDraws(of, first, { batchSize: count, tokenSpace: teacher.model.tokenSpace, sampling });
      const sampler = (await samplers.get(`teacher ${count} ${numSteps}`, async () => {
        const compiled = await compileMultiStep(engine, ready, options);
        // The first step is without guidance, the second with it.
        const enough = new Error('warm');
        const onStep = ({ step }: { readonly step: number }): void => {
          if (step > 0) throw enough;
        };
        await compiled
          .sample(weights, { condition, draws: drawsFor(0, 0, compiled), onStep })
          .catch((error: unknown) => {
            if (error !== enough) throw error;
          });
        return compiled;
      })) as MultiStepSampler;
      passes = sampler.maximumPasses;
      started = performance.now();
      tokens = await sampler.sample(weights, {
        condition,
        draws: drawsFor(seed, firstImage, sampler),
        async onStep({ step, tokens: soFar }) {
          const begun = performance.now();
          await letMessagesIn();
          if (signal.aborted) throw new DimoError('cancelled', 'stopped on request');
          if (request.frames === true) emit(await frame(step + 1, passes, soFar));
          drawing += performance.now() - begun;
        },
      });
    }
    const sampled = performance.now();
    const pictures = await decode(tokens);
    return {
      pictures,
      tokens: Int32Array.from(tokens.data),
      numSteps: passes,
      milliseconds: { sampling: sampled - started - drawing, decoding: performance.now() - sampled },
    };

    async function frame(step: number, of: number, soFar: HostTensor<'int32'>): Promise<Frame> {
      const { codebookSize } = decoder!;
      const isDecided = Uint8Array.from(soFar.data, (token) => (token < codebookSize ? 1 : 0));
      // Decoders know no mask: some code stands in for it where the page shows nothing.
      const shown = { ...soFar, data: soFar.data.map((token) => (token < codebookSize ? token : 0)) };
      return { step, numSteps: of, isDecided, pictures: await decode(shown) };
    }
  }

  return {
    engine,
    teacher: folder.teacher && (prepared.teacher as Teacher),
    generate: (request, context) => inTurn(() => generate(request, context)),
    async dispose() {
      await last;
      await samplers.dispose();
      await decoders.dispose();
      for (const tree of uploads.values()) await (await tree.catch(() => undefined))?.dispose();
      uploads.clear();
      await prepared.dispose();
    },
  };
}

interface Disposable {
  dispose(): Promise<void>;
}

/** Compiled functions by key, the least recently used being given up. */
function lastUsed<T extends Disposable>(maximum: number) {
  const kept = new Map<string, Promise<T>>();
  return {
    async get(key: string, make: () => Promise<T>): Promise<T> {
      let found = kept.get(key);
      if (!found) {
        found = make();
        found.catch(() => kept.delete(key));
      }
      kept.delete(key);
      kept.set(key, found);
      const [oldest] = kept.keys();
      if (kept.size > maximum && oldest !== undefined) {
        const unused = kept.get(oldest)!;
        kept.delete(oldest);
        await (await unused).dispose();
      }
      return found;
    },
    async dispose(): Promise<void> {
      for (const value of kept.values()) await (await value.catch(() => undefined))?.dispose();
      kept.clear();
    },
  };
}
