/** What runs in the worker: an engine, models, and one distillation. */
import {
  DimoError,
  OptionError,
  resolveSampler,
  sequenceLength,
  sizeOf,
  type ChosenEngine,
  type Teacher,
  type WeightSource,
} from '@dimo/core';
import { distillationRunner } from './distillation.js';
import type { MessageEndpoint } from './messages.js';
import type { LoadedModel, LoadProgress, ModelLocation, WorkerMethods } from './methods.js';
import { readModelFolder, type ModelFolder, type TeacherPlugins } from './read-model.js';
import { residentModel, type ResidentModel } from './resident-model.js';
import { serveCalls } from './serve-calls.js';

/** What `serveWorker` needs. */
export interface ServeWorkerOptions {
  /** Makes an engine by name or `auto`: `chooseWebEngine`, `createWebEngine`. */
  readonly openEngine: (name: string) => Promise<Pick<ChosenEngine, 'engine' | 'explanation'>>;
  /** Teacher plugins by name; each is loaded when a model asks for it. */
  readonly teachers: TeacherPlugins;
  /** Opens a folder on a server or of picked files. */
  readonly openFolder: (location: ModelLocation, onProgress: (progress: LoadProgress) => void) => Promise<WeightSource>;
  /** @default the global scope of the worker */
  readonly endpoint?: MessageEndpoint;
}

interface HeldModel {
  readonly folder: ModelFolder;
  resident?: Promise<ResidentModel>;
}

/**
 * Answers `connectWorker` of the page.
 *
 * @example
 * serveWorker({
 *   openEngine: (name) => chooseWebEngine(),
 *   teachers: { maskgit: async () => (await import('@dimo/teacher-maskgit')).maskgitTeacher },
 *   openFolder: async (location) =>
 *     location.kind === 'url' ? httpModelFolder(location.url) : fileListModelFolder(location.files.map(({ file }) => file)),
 * });
 */
export function serveWorker({ openEngine, teachers, openFolder, endpoint }: ServeWorkerOptions): void {
  const held = new Map<number, HeldModel>();
  const distillations = distillationRunner();
  let opened: ReturnType<ServeWorkerOptions['openEngine']> | undefined;
  let nextModel = 1;

  async function dropEngine(): Promise<void> {
    const current = opened;
    opened = undefined;
    for (const model of held.values()) {
      const { resident } = model;
      delete model.resident;
      // What a lost device held is gone; releasing it may fail.
      await resident?.then((value) => value.dispose()).catch(() => undefined);
    }
    await current?.then(({ engine }) => engine.dispose()).catch(() => undefined);
  }

  function heldModel(id: number): HeldModel {
    const model = held.get(id);
    if (!model) throw new OptionError('this model was unloaded');
    return model;
  }

  async function resident(id: number): Promise<ResidentModel> {
    const model = heldModel(id);
    opened ??= openEngine('auto');
    const { engine } = await opened;
    model.resident ??= residentModel(engine, model.folder);
    const current = model.resident;
    current.catch(() => {
      if (model.resident === current) delete model.resident;
    });
    return current;
  }

  serveCalls<WorkerMethods>(endpoint ?? (globalThis as unknown as MessageEndpoint), {
    async openEngine({ name }) {
      await dropEngine();
      const choosing = openEngine(name);
      opened = choosing;
      choosing.catch(() => {
        if (opened === choosing) opened = undefined;
      });
      const { engine, explanation } = await choosing;
      return { info: { ...engine.info }, explanation };
    },
    async load({ location }, { emit, signal }) {
      const folder = await readModelFolder(await openFolder(location, emit), teachers);
      if (signal.aborted) throw new DimoError('cancelled', 'stopped on request');
      const id = nextModel++;
      const facts = describeModel(id, folder);
      held.set(id, { folder });
      return facts;
    },
    async unload({ model: id }) {
      const { resident: current } = heldModel(id);
      held.delete(id);
      await current?.then((value) => value.dispose()).catch(() => undefined);
      return undefined;
    },
    async generate(request, context) {
      return (await resident(request.model)).generate(request, context);
    },
    async distill(parameters, { signal, emit }) {
      const { engine, teacher } = await resident(parameters.model);
      if (!teacher) throw new OptionError('distilling needs the teacher; this model is a generator alone');
      return distillations.run({ engine, teacher, parameters, signal, emit });
    },
    pauseDistillation({ paused }) {
      distillations.pause(paused);
      return undefined;
    },
    downloadGenerator: () => distillations.download(),
  });
}

/** Facts for the page. @throws OptionError if teacher and generator do not belong together, or make no images */
function describeModel(id: number, { teacher, generator }: ModelFolder): LoadedModel {
  const definition = teacher ?? generator!.definition;
  const { model, decoder, conditions } = definition;
  if (!decoder) throw new OptionError('this model makes tokens, not images; the page needs images');
  if (teacher && generator && factsOf(generator.definition) !== factsOf(teacher))
    throw new OptionError('teacher and generator of this folder do not belong together');
  const numParameters = Object.values(model.parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return {
    id,
    ...(teacher ? { teacher: { name: teacher.name, numSteps: stepsOf(teacher), numParameters } } : {}),
    ...(generator
      ? {
          generator: {
            model: generator.description.model,
            temperature: generator.description.temperature ?? 1,
            numParameters,
          },
        }
      : {}),
    ...(conditions.classNames ? { classNames: [...conditions.classNames] } : {}),
    takesPrompts: definition.prepareConditions !== undefined,
    imageShape: decoder.imageShape,
    grid: model.tokenSpace.grid,
    codebookSize: model.tokenSpace.codebookSize,
  };
}

/** What teacher and generator must have in common. */
function factsOf({
  model: { name, tokenSpace, condition },
  decoder,
}: NonNullable<ModelFolder['teacher']> | NonNullable<ModelFolder['generator']>['definition']): string {
  return JSON.stringify([name, tokenSpace, condition, decoder?.imageShape]);
}

/** Most passes of the teacher's own sampler. */
function stepsOf({ sampler: own, model }: Pick<Teacher, 'sampler' | 'model'>): number {
  const { sampler, options } = resolveSampler({}, own);
  return sampler.maximumPasses(options, sequenceLength(model.tokenSpace));
}
