/** What runs in the worker: an engine, models, and one distillation. */
import {
  builtInSamplers,
  DimoError,
  OptionError,
  resolveSampler,
  sequenceLength,
  resolveSampling,
  sizeOf,
  type ChosenEngine,
  type Teacher,
  type TeacherDefinition,
  type WeightSource,
} from '@dimo/core';
import { distillationRunner } from './distillation.js';
import type { MessageEndpoint } from './messages.js';
import type { LoadedModel, LoadProgress, ModelLocation, WorkerMethods } from './methods.js';
import { readModelFolder, type TeacherPlugins } from '../model/read-model.js';
import { residentModel, type ModelParts, type ResidentModel } from '../model/resident-model.js';
import { drawForPage } from './drawing.js';
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
  readonly parts: ModelParts;
  resident?: ResidentModel | undefined;
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
      await resident?.dispose().catch(() => undefined);
    }
    await current?.then(({ engine }) => engine.dispose()).catch(() => undefined);
  }

  /** The engine from now on; one that cannot be had is asked for anew the next time. */
  function choose(choosing: NonNullable<typeof opened>): typeof choosing {
    opened = choosing;
    choosing.catch(() => {
      if (opened === choosing) opened = undefined;
    });
    return choosing;
  }

  function heldModel(id: number): HeldModel {
    const model = held.get(id);
    if (!model) throw new OptionError('this model was unloaded');
    return model;
  }

  async function resident(id: number): Promise<ResidentModel> {
    for (;;) {
      const model = heldModel(id);
      const current = opened ?? choose(openEngine('auto'));
      const { engine } = await current;
      // Meanwhile another engine may have been asked for, and this one given up.
      if (opened !== current || held.get(id) !== model) continue;
      model.resident ??= residentModel(engine, model.parts, { warmsUp: true });
      return model.resident;
    }
  }

  serveCalls<WorkerMethods>(endpoint ?? (globalThis as unknown as MessageEndpoint), {
    async openEngine({ name }) {
      // Calls that come meanwhile wait for the new one.
      const { engine, explanation } = await choose(dropEngine().then(() => openEngine(name)));
      return { info: { ...engine.info }, explanation };
    },
    async load({ location }, { emit, signal }) {
      const folder = await readModelFolder(await openFolder(location, emit), teachers);
      if (signal.aborted) throw new DimoError('cancelled', 'stopped on request');
      const id = nextModel++;
      const parts = { teacher: await folder.teacher?.(), generator: await folder.generator?.() };
      if (signal.aborted) throw new DimoError('cancelled', 'stopped on request');
      const facts = describeModel(id, parts);
      held.set(id, { parts });
      return facts;
    },
    async unload({ model: id }) {
      const { resident: current } = heldModel(id);
      held.delete(id);
      await current?.dispose().catch(() => undefined);
      return undefined;
    },
    async generate(request, context) {
      return drawForPage(await resident(request.model), request, context);
    },
    async distill(parameters, { signal, emit }) {
      const { engine, parts, prepared } = await resident(parameters.model);
      if (!parts.teacher) throw new OptionError('distilling needs the teacher; this model is a generator alone');
      const teacher: Teacher = { ...parts.teacher, ...(await prepared()) };
      // A generator of the same teacher was tried at many temperatures, and says which was best.
      const asked = parameters.temperature ?? parts.generator?.description.temperature;
      const { temperature } = resolveSampling({ temperature: asked }, 'distil');
      return distillations.run({ engine, teacher, parameters, temperature, signal, emit });
    },
    pauseDistillation({ paused }) {
      distillations.pause(paused);
      return undefined;
    },
    downloadGenerator: () => distillations.download(),
  });
}

/** Facts for the page. @throws OptionError if teacher and generator do not belong together, or make no images */
function describeModel(id: number, { teacher, generator }: ModelParts): LoadedModel {
  const definition = teacher ?? generator!.definition;
  const { model, decoder, conditions } = definition;
  if (!decoder) throw new OptionError('this model makes tokens, not images; the page needs images');
  if (teacher && generator && factsOf(generator.definition) !== factsOf(teacher))
    throw new OptionError('teacher and generator of this folder do not belong together');
  const numParameters = Object.values(model.parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return {
    id,
    ...(teacher ? { teacher: { name: teacher.name, ...samplerFacts(teacher), numParameters } } : {}),
    ...(generator
      ? {
          generator: {
            model: generator.description.model,
            temperature: resolveSampling({ temperature: generator.description.temperature }).temperature,
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
function factsOf({ model: { name, tokenSpace, condition }, decoder }: TeacherDefinition): string {
  return JSON.stringify([name, tokenSpace, condition, decoder?.imageShape]);
}

/** The teacher's own sampler, and those it can be asked for. */
function samplerFacts({ sampler: own, model }: Pick<Teacher, 'sampler' | 'model'>) {
  const { sampler, options } = resolveSampler({}, own);
  return {
    numSteps: sampler.maximumPasses(options, sequenceLength(model.tokenSpace)),
    sampler: sampler.name,
    samplers: [...builtInSamplers.values()].map(({ name, description, options: { shape } }) => ({
      name,
      description,
      takesSteps: 'numSteps' in shape,
    })),
  };
}
