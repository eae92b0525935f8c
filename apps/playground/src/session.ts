/** What all parts of the page share: the worker, the engine in use, the model, and how problems are told. */
import {
  connectWorker,
  type DimoWorker,
  type LoadedModel,
  type OpenedEngine,
  WorkerError,
} from '@dimo/pipeline/worker-client';
import type { ServedModel } from './served-models.js';
import { byId, make } from './ui/elements.js';

/** Shared state. */
export interface Session {
  readonly worker: DimoWorker;
  readonly model: () => LoadedModel | undefined;
  /** `served`: the server draws it, and not the worker. */
  setModel(model: LoadedModel | undefined, served?: ServedModel): void;
  /** The model, if the server draws it. */
  readonly served: () => ServedModel | undefined;
  /** Draws images of the model, wherever it is. */
  readonly generate: DimoWorker['generate'];
  /** Called with each new model. */
  onModel(listener: (model: LoadedModel | undefined) => void): void;
  /** Opens an engine by name or `auto`. */
  openEngine(name: string): Promise<OpenedEngine>;
  readonly engine: () => OpenedEngine | undefined;
  onEngine(listener: (engine: OpenedEngine) => void): void;
  /**
   * Runs a task; if the device is lost meanwhile, says so, opens a new engine and runs it once more.
   *
   * @param task - `again` is true the second time.
   */
  survivingLoss<T>(task: (again: boolean) => Promise<T>): Promise<T>;
}

/** Starts the worker. */
export function createSession(): Session {
  // A worker that fails to start ends every call with an error, which is shown.
  const worker = connectWorker(new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' }));
  let model: LoadedModel | undefined;
  let served: ServedModel | undefined;
  let engine: OpenedEngine | undefined;
  let engineName = 'auto';
  const modelListeners: ((model: LoadedModel | undefined) => void)[] = [];
  const engineListeners: ((engine: OpenedEngine) => void)[] = [];

  async function openEngine(name: string): Promise<OpenedEngine> {
    engineName = name;
    engine = undefined;
    engine = await worker.openEngine(name);
    for (const listener of engineListeners) listener(engine);
    return engine;
  }

  return {
    worker,
    model: () => model,
    setModel(next, nextServed) {
      [model, served] = [next, nextServed];
      for (const listener of modelListeners) listener(next);
    },
    served: () => served,
    generate: (parameters, options) =>
      served
        ? served.draw(parameters, options?.signal ?? new AbortController().signal)
        : worker.generate(parameters, options),
    onModel: (listener) => modelListeners.push(listener),
    engine: () => engine,
    onEngine: (listener) => engineListeners.push(listener),
    openEngine,
    async survivingLoss(task) {
      try {
        return await task(false);
      } catch (error) {
        if (!(error instanceof WorkerError) || error.code !== 'device') throw error;
        say(`The device failed (${error.message}). Opening it again …`);
        const { info } = await openEngine(engineName);
        say(`The device was lost; going on with a new engine, ${info.name} on ${info.device}.`);
        return task(true);
      }
    },
  };
}

/** Says something in the line below the images, which screen readers read. */
export function say(text: string): void {
  byId('status').textContent = text;
}

/** Shows what went wrong and the way on; stopping on request is nothing wrong. */
export function showProblem(error: unknown): void {
  const { code, hint } = error as { readonly code?: string; readonly hint?: string };
  if (code === 'cancelled') return say('Stopped.');
  const box = byId('problem');
  const message = error instanceof Error ? error.message : String(error);
  box.replaceChildren(make('p', {}, message), ...(hint ? [make('p', {}, `What helps: ${hint}`)] : []));
  box.hidden = false;
  say('');
}

/** Takes the message away. */
export function clearProblem(): void {
  byId('problem').hidden = true;
}
