/**
 * The engines `onnx`, `onnx-webgpu` and `onnx-cuda`: a pure function is traced once into a graph, which onnxruntime runs
 * in a worker thread, on the CPU or on another of its providers. Emitting happens here, sessions and state live there.
 */
import {
  BackendUnavailableError,
  checkSubtree,
  checkTree,
  DimoError,
  specsOf,
  type CompiledFunction,
  type DeviceTree,
  type Engine,
  type EngineOptions,
  type FunctionSignature,
  type HostTree,
  type PureFunction,
  type SpecTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { createRequire } from 'node:module';
import { float16Values, hostTreeOf, wireTree } from './half-state.js';
import { portSpecs, prefixes, type Residence } from './onnx-protocol.js';
import { onnxProviders, residenceOf, type OnnxProvider, type ProviderDescription } from './onnx-providers.js';
import { detachedCopy, startOnnxWorker, type OnnxWorker } from './onnx-worker-client.js';
import { resolveThreads } from './threads.js';

/**
 * Bytes of an ONNX model whose ports are named with `prefixes`.
 *
 * @param halves - float32 inputs that are fed as float16, by port name: the value is that times 2^-exponent.
 */
export type ModelBytes = (halves: Readonly<Record<string, number>>) => Uint8Array;

/** Turns a pure function into an ONNX model. */
export type ModelEmitter = (fn: PureFunction, signature: FunctionSignature) => ModelBytes | Promise<ModelBytes>;

/** Options of `createOnnxEngine`. */
export interface OnnxEngineOptions extends EngineOptions {
  /** What onnxruntime computes on. `cuda` has not been run yet, for want of such a machine. @default 'cpu' */
  readonly provider?: OnnxProvider;
  /**
   * Replaces session options of onnxruntime-node (`graphOptimizationLevel`, `enableMemPattern`, `enableCpuMemArena`,
   * `enableProfiling`, ...).
   */
  readonly sessionOptions?: Readonly<Record<string, unknown>>;
  /** @default the tracer of @dimo/onnx */
  readonly emit?: ModelEmitter;
}

/** A device tree in the worker. */
interface TreeState {
  readonly id: number;
  /** Tensors held as float16, with their exponents. */
  readonly halves: Map<string, number>;
}

const installCommand = 'npm install onnxruntime-node';

/** The tracer, loaded while the worker loads onnxruntime. */
function tracingEmitter({ lowering }: ProviderDescription): ModelEmitter {
  const loading = import('@dimo/onnx');
  loading.catch(() => {}); // reported by the first function
  return async (fn, signature) => {
    const { emitModel, trace } = await loading;
    // While another backend starts (asynchronously), tfjs refuses every op on any backend, the tracer's included.
    await (tf.engine() as unknown as { pendingBackendInit?: Promise<boolean> | null }).pendingBackendInit;
    const graph = trace(fn, signature, lowering);
    return (halves) => emitModel(graph, { halves });
  };
}

/**
 * Makes an engine that runs traced graphs on onnxruntime.
 *
 * @throws BackendUnavailableError if onnxruntime-node is missing, cannot be loaded, or has no such device here.
 * @throws OptionError if the number of threads is not a positive integer.
 */
export async function createOnnxEngine(options: OnnxEngineOptions = {}): Promise<Engine> {
  const threads = resolveThreads(options.threads);
  const provider = onnxProviders[options.provider ?? 'cpu'];
  const { name } = provider;
  requirePackage(name);
  const emit = options.emit ?? tracingEmitter(provider);
  const residence = provider.isResident ? await residenceOf(provider) : undefined;
  const worker = startOnnxWorker(name);
  const { versions } = await loadRuntime(worker, provider, residence);
  const device = await provider.describe(threads);
  const sessionOptions = {
    executionProviders: provider.executionProviders,
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    graphOptimizationLevel: 'all',
    logSeverityLevel: 4, // errors are thrown, so onnxruntime need not print them as well
    // Planned memory patterns nearly double the resident memory of two training graphs and save no measurable time.
    enableMemPattern: false,
    // Spinning threads wait for work at full power, which costs more than waking them.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
    ...options.sessionOptions,
  };

  const trees = new Map<DeviceTree, TreeState>();
  let nextTree = 0;
  let nextFunction = 0;
  let isDisposed = false;
  const requireLive = (where: string) => {
    if (isDisposed) throw new DimoError('option', `${where}: this ${name} engine has been disposed; make a new one`);
  };
  const stateOf = (tree: DeviceTree, where: string): TreeState => {
    requireLive(where);
    const found = trees.get(tree);
    if (found === undefined)
      throw new DimoError('option', `${where}: the device tree does not belong to this engine, or was disposed`);
    return found;
  };
  const widen = (tree: TreeState, names: readonly string[]): void => {
    const held = names.filter((name) => tree.halves.delete(name));
    // Requests are served in order; a failure shows in the one that follows, which needs the tensors.
    if (held.length > 0) worker.call('widen', { tree: tree.id, names: held, values: float16Values() }).catch(() => {});
  };

  function makeTree(state: TreeState, specs: SpecTree): DeviceTree {
    const tree: DeviceTree = {
      specs,
      async download(names = Object.keys(specs)) {
        const { id } = stateOf(tree, 'download');
        for (const name of names)
          if (!Object.hasOwn(specs, name)) throw new DimoError('shape', `download: the tree has no tensor "${name}"`);
        return hostTreeOf(await worker.call('download', { tree: id, names }));
      },
      async assign(values) {
        const { id } = stateOf(tree, 'assign');
        checkSubtree('assign', specs, values);
        widen(state, Object.keys(values));
        const { tensors, transfer } = detachedCopy(values);
        await worker.call('assign', { tree: id, tensors }, transfer);
      },
      async dispose() {
        if (!trees.delete(tree) || isDisposed) return;
        await worker.call('releaseTree', { tree: state.id });
      },
    };
    trees.set(tree, state);
    return tree;
  }

  return {
    info: { name, versions, ...device },

    async upload(values, options) {
      requireLive('upload');
      const id = nextTree++;
      const specs = specsOf(values);
      // Other devices compute with float32: 16 bits are widened here, once, and not in every run.
      const { tensors, transfer } = residence ? detachedCopy(values) : wireTree(values, options);
      const halves = new Map(
        Object.entries(tensors).flatMap(([name, tensor]) => ('bits' in tensor ? [[name, tensor.exponent]] : [])),
      );
      await worker.call('upload', { tree: id, tensors }, transfer);
      return makeTree({ id, halves }, specs);
    },

    async compile(fn, signature): Promise<CompiledFunction> {
      requireLive('compile');
      const bytes = await emit(fn, signature);
      const ids = new Map<string, number>();
      /** Posts the model for a set of 16-bit tensors. */
      const build = (halves: Readonly<Record<string, number>>) => {
        // A copy: transferring would take the emitter's memory away.
        const model = bytes(halves).slice();
        const id = nextFunction++;
        ids.set(JSON.stringify(halves), id);
        return worker.call('compile', { fn: id, model, sessionOptions }, [model.buffer as ArrayBuffer]);
      };
      const ports = await build({});
      const newState = portSpecs(ports.outputs, prefixes.newState);
      checkSubtree('compile: state that the function returns', signature.state, newState);
      const readState = Object.keys(portSpecs(ports.inputs, prefixes.state));
      let isReleased = false;
      return {
        signature,
        async run(state, inputs): Promise<HostTree> {
          const tree = stateOf(state, 'run');
          if (isReleased) throw new DimoError('option', 'run: the compiled function has been disposed');
          checkTree('run: inputs', signature.inputs, inputs);
          checkTree('run: state', signature.state, pick(state.specs, Object.keys(signature.state)));
          widen(tree, Object.keys(newState)); // what changes is float32 from now on
          const held = readState.filter((name) => tree.halves.has(name));
          const halves = Object.fromEntries(held.map((name) => [prefixes.state + name, tree.halves.get(name)!]));
          const key = JSON.stringify(halves);
          const building = ids.has(key) ? undefined : build(halves);
          building?.catch(() => ids.delete(key));
          const { tensors, transfer } = detachedCopy(inputs);
          // Posted before anything is awaited, so that runs keep the order of their calls.
          const result = worker.call('run', { fn: ids.get(key)!, tree: tree.id, inputs: tensors }, transfer);
          result.catch(() => {});
          await building;
          return result;
        },
        async dispose() {
          if (isReleased || isDisposed) return;
          isReleased = true;
          await Promise.all([...ids.values()].map((fn) => worker.call('releaseFunction', { fn })));
        },
      };
    },

    async dispose() {
      if (isDisposed) return;
      isDisposed = true;
      trees.clear();
      await worker.close();
    },
  };
}

/** Fails early, and without a thread, when the package is not there. */
function requirePackage(engine: string): void {
  try {
    createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  } catch (cause) {
    throw new BackendUnavailableError(`${engine} engine: the package onnxruntime-node is not installed`, {
      cause,
      hint: `run \`${installCommand}\`; where its download host is blocked, \`ONNXRUNTIME_NODE_INSTALL=skip ${installCommand}\``,
    });
  }
}

async function loadRuntime(
  worker: OnnxWorker,
  provider: ProviderDescription,
  residence: Residence | undefined,
): Promise<{ readonly versions: Readonly<Record<string, string>> }> {
  const { name, backend, hint } = provider;
  const fail = async (message: string, options: { cause?: unknown; hint: string }): Promise<never> => {
    await worker.close().catch(() => {});
    throw new BackendUnavailableError(`${name} engine: ${message}`, options);
  };
  let loaded;
  try {
    loaded = await worker.call('load', {});
  } catch (cause) {
    return fail(`onnxruntime-node cannot be loaded: ${firstLine(cause)}`, {
      cause,
      hint: `reinstall it for this platform: \`npm uninstall onnxruntime-node && ${installCommand}\``,
    });
  }
  if (!loaded.backends.includes(backend))
    return fail(`this onnxruntime-node has no ${backend} provider, only ${loaded.backends.join(', ')}`, { hint });
  if (residence)
    try {
      await worker.call('reside', { residence });
    } catch (cause) {
      return fail(`onnxruntime's ${backend} provider does not start: ${firstLine(cause)}`, { cause, hint });
    }
  return loaded;
}

/** The first line, without the place in onnxruntime's sources and the condition that did not hold there. */
function firstLine(cause: unknown): string {
  const line = (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
  return line.replace(/^\S*onnxruntime_src\S* .* was false\. /, '');
}

function pick(tree: SpecTree, names: readonly string[]): SpecTree {
  return Object.fromEntries(names.flatMap((name) => (Object.hasOwn(tree, name) ? [[name, tree[name]!]] : [])));
}
