/**
 * The page's side of `@dimo/pipeline/worker`: everything heavy is asked of the worker. Importing it loads a few
 * kilobytes; core and the backends stay in the worker.
 */
import { connectCalls, WorkerError, type CallOptions } from './connect-calls.js';
import type { MessageEndpoint } from './messages.js';
import type {
  DistillEvent,
  DistillParameters,
  DownloadedFile,
  Frame,
  Generated,
  GenerateParameters,
  LoadedModel,
  LoadProgress,
  ModelLocation,
  OpenedEngine,
  WorkerMethods,
} from './methods.js';

export { WorkerError };
export type { CallOptions } from './connect-calls.js';
export type { MessageEndpoint, WireError } from './messages.js';
export type * from './methods.js';

/** A worker as the page sees it. Every method ends with a `WorkerError` (code, message, hint) if it fails. */
export interface DimoWorker {
  /** Opens an engine by name or `auto` in place of the one before; models and a stopped distillation move to it. */
  openEngine(name: string): Promise<OpenedEngine>;
  load(location: ModelLocation, options?: CallOptions<LoadProgress>): Promise<LoadedModel>;
  unload(model: LoadedModel): Promise<void>;
  generate(parameters: GenerateParameters, options?: CallOptions<Frame>): Promise<Generated>;
  /** Runs until the last step; the signal stops it at a step boundary, and `resume` goes on from there. */
  distill(
    parameters: DistillParameters,
    options?: CallOptions<DistillEvent>,
  ): Promise<{ readonly step: number; readonly done: boolean }>;
  pauseDistillation(paused: boolean): Promise<void>;
  /** The distilled generator in one safetensors file, which `dimo sample --model` and this page load. */
  downloadGenerator(): Promise<DownloadedFile>;
}

/**
 * Connects to a worker that runs `serveWorker`.
 *
 * @param worker - a `Worker`; if its script cannot be loaded, every call fails with code `internal`.
 * @example
 * const dimo = connectWorker(new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }));
 * const { explanation } = await dimo.openEngine('auto');
 * const model = await dimo.load({ kind: 'url', url: 'models/mnist/' });
 * const { pictures } = await dimo.generate({ model: model.id, network: 'generator', texts: ['3'], seed: 0 });
 */
export function connectWorker(worker: MessageEndpoint): DimoWorker {
  const caller = connectCalls<WorkerMethods>(worker);
  // Only a Worker has this event; of a message port it never comes.
  const listen = worker.addEventListener as (type: string, listener: (event: { message?: string }) => void) => void;
  listen.call(worker, 'error', ({ message }) => {
    caller.fail({
      code: 'internal',
      message: `the worker failed${message ? `: ${message}` : ' to start'}`,
      hint: 'reload the page',
    });
  });
  return {
    openEngine: (name) => caller.call('openEngine', { name }),
    load: (location, options) => caller.call('load', { location }, options),
    unload: (model) => caller.call('unload', { model: model.id }),
    generate: (parameters, options) => caller.call('generate', parameters, options),
    distill: (parameters, options) => caller.call('distill', parameters, options),
    pauseDistillation: (paused) => caller.call('pauseDistillation', { paused }),
    downloadGenerator: () => caller.call('downloadGenerator', undefined),
  };
}
