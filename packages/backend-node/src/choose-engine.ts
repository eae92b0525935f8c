/** Which engine to use, and why. */
import { BackendUnavailableError, OptionError, type Engine, type EngineFactory, type EngineOptions } from '@dimo/core';
import { describeFailure, nodeEngines } from './plugin.js';

/** A chosen engine. */
export interface ChosenEngine {
  readonly engine: Engine;
  /** One sentence for the log: what was picked, and why nothing better. */
  readonly explanation: string;
}

/** Options of `chooseEngine`. */
export interface ChooseEngineOptions extends EngineOptions {
  /** Where names are looked up, plugins' engines included. @default the engines of this package */
  readonly engines?: readonly EngineFactory[];
}

/** The order of `auto`, fastest first. `tensorflow` and `cpu` are for comparison: `onnx` and `wasm` are faster. */
const automaticOrder = ['cuda', 'webgpu', 'onnx', 'wasm'];

/**
 * Makes an engine by name; `auto` takes the first that runs here of cuda, webgpu on a real GPU, onnx, wasm.
 *
 * @throws OptionError for an unknown name.
 * @throws BackendUnavailableError if the named engine, or with `auto` every engine, is unavailable.
 */
export async function chooseEngine(name: string, options: ChooseEngineOptions = {}): Promise<ChosenEngine> {
  const { engines = nodeEngines, ...engineOptions } = options;
  if (name !== 'auto') {
    const factory = engines.find((candidate) => candidate.name === name);
    if (!factory)
      throw new OptionError(
        `engine: expected auto, ${engines.map((candidate) => candidate.name).join(', ')}; got ${JSON.stringify(name)}`,
        { hint: '`dimo doctor` lists the engines that run on this machine' },
      );
    const engine = await factory.create(engineOptions);
    return { engine, explanation: `engine ${describe(engine)}, as requested` };
  }

  const passedOver: string[] = [];
  for (const candidate of automaticOrder) {
    const factory = engines.find((engine) => engine.name === candidate);
    if (!factory) continue;
    try {
      const engine = await factory.create(engineOptions);
      if (!engine.info.isSoftware) {
        const why = passedOver.length > 0 ? `; passed over: ${passedOver.join('; ')}` : '';
        return { engine, explanation: `engine ${describe(engine)}, the fastest that runs here${why}` };
      }
      await engine.dispose();
      passedOver.push(`${candidate} (${engine.info.device} only emulates a GPU)`);
    } catch (error) {
      if (error instanceof OptionError) throw error;
      passedOver.push(`${candidate} (${shortReason(candidate, describeFailure(error).reason)})`);
    }
  }
  throw new BackendUnavailableError(`engine auto: no engine runs on this machine: ${passedOver.join('; ')}`, {
    hint: 'run `npm install onnxruntime-node`, or see `dimo doctor`',
  });
}

function describe({ info }: Engine): string {
  return `${info.name} on ${info.device}`;
}

function shortReason(name: string, reason: string): string {
  const start = `${name} engine: `;
  return reason.startsWith(start) ? reason.slice(start.length) : reason;
}
