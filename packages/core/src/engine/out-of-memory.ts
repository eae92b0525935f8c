/** Failed allocations while training, told with what needed the memory and what to lower. */
import type { Engine } from './engine.js';
import { DimoError } from '../errors.js';
import { sizeOf, type SpecTree } from '../tensors/tensors.js';

/** What is trained. */
export interface TrainedProgram {
  readonly name: string;
  /** Samples per step. */
  readonly batchSize: number;
}

/** What allocators say: of JavaScript, of onnxruntime, of WebGPU, of WebAssembly. */
const allocationFailure = /alloc|out of memory|Invalid typed array length/i;

/**
 * The engine, with failed allocations as errors that name the batch, what the tensors that are known of need at least, and
 * what to lower.
 */
export function explainMemory(engine: Engine, program: TrainedProgram): Engine {
  let known = 0;
  let hasScratch = false;
  const explained = async <T>(where: string, task: () => Promise<T>): Promise<T> => {
    try {
      return await task();
    } catch (error) {
      throw explain(error, where, program, known);
    }
  };
  return {
    ...(engine.parallelRuns === undefined ? {} : { parallelRuns: engine.parallelRuns }),
    get info() {
      return engine.info;
    },
    get makesRandomNumbers() {
      return engine.makesRandomNumbers ?? false;
    },
    upload: (tree, options) => {
      const scratch = options?.scratch ?? {};
      hasScratch = Object.keys(scratch).length > 0;
      known = Math.max(known, bytesOf(tree) + bytesOf(scratch));
      return explained('the state', () => engine.upload(tree, options));
    },
    async compile(fn, signature, compileOptions) {
      // New state is written beside the old one, unless it is written in parts.
      const copies = hasScratch ? 1 : 2;
      known = Math.max(known, copies * bytesOf(signature.state) + bytesOf(signature.inputs));
      const compiled = await explained('a step', () => engine.compile(fn, signature, compileOptions));
      return { ...compiled, run: (...given) => explained('a step', () => compiled.run(...given)) };
    },
    dispose: () => engine.dispose(),
  };
}

function explain(error: unknown, where: string, { name, batchSize }: TrainedProgram, known: number): unknown {
  const message = error instanceof Error ? error.message : String(error);
  const isOfDevice = DimoError.isInstance(error) ? error.code === 'device' : error instanceof RangeError;
  if (!isOfDevice || !allocationFailure.test(message)) return error;
  const mebibytes = Math.ceil(known / 2 ** 20);
  return new DimoError(
    'device',
    `${name}: out of memory for ${where} with a batch of ${batchSize}; its state and inputs alone need ${mebibytes} MiB, activations come on top: ${message}`,
    {
      cause: error,
      hint: 'lower the batch size (accumulation makes up for it), use a smaller model or an engine with more memory; the last checkpoint is intact',
    },
  );
}

function bytesOf(specs: SpecTree): number {
  return Object.values(specs).reduce((sum, { dtype, shape }) => sum + sizeOf(shape) * (dtype === 'bool' ? 1 : 4), 0);
}
