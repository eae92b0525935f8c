/**
 * The `onnx` engine: a pure function is traced once into a graph, which onnxruntime runs in a worker thread. Emitting
 * happens here, sessions and state live there.
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
import { portSpecs, prefixes } from './onnx-protocol.js';
import { detachedCopy, startOnnxWorker, type OnnxWorker } from './onnx-worker-client.js';
import { resolveThreads } from './threads.js';

/** Turns a pure function into the bytes of an ONNX model whose ports are named with `prefixes`. */
export type ModelEmitter = (fn: PureFunction, signature: FunctionSignature) => Uint8Array | Promise<Uint8Array>;

/** Options of `createOnnxEngine`. */
export interface OnnxEngineOptions extends EngineOptions {
  /**
   * Replaces session options of onnxruntime-node (`graphOptimizationLevel`, `enableMemPattern`, `enableCpuMemArena`,
   * `enableProfiling`, ...).
   */
  readonly sessionOptions?: Readonly<Record<string, unknown>>;
  /** @default the tracer of @dimo/onnx */
  readonly emit?: ModelEmitter;
}

const installCommand = 'npm install onnxruntime-node';

/** The tracer, loaded while the worker loads onnxruntime. */
function tracingEmitter(): ModelEmitter {
  const loading = import('@dimo/onnx');
  loading.catch(() => {}); // reported by the first function
  return async (fn, signature) => {
    const { emitModel, trace } = await loading;
    // While another backend starts (asynchronously), tfjs refuses every op on any backend, the tracer's included.
    await (tf.engine() as unknown as { pendingBackendInit?: Promise<boolean> | null }).pendingBackendInit;
    return emitModel(trace(fn, signature));
  };
}

/**
 * Makes an engine that runs traced graphs on onnxruntime (CPU).
 *
 * @throws BackendUnavailableError if onnxruntime-node is missing or cannot be loaded.
 * @throws OptionError if the number of threads is not a positive integer.
 */
export async function createOnnxEngine(options: OnnxEngineOptions = {}): Promise<Engine> {
  const threads = resolveThreads(options.threads);
  requirePackage();
  const worker = startOnnxWorker();
  const emit = options.emit ?? tracingEmitter();
  const { versions } = await loadRuntime(worker);
  const sessionOptions = {
    executionProviders: ['cpu'],
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

  const trees = new Map<DeviceTree, number>();
  let nextTree = 0;
  let nextFunction = 0;
  let isDisposed = false;
  const requireLive = (where: string) => {
    if (isDisposed) throw new DimoError('option', `${where}: this onnx engine has been disposed; make a new one`);
  };
  const idOf = (tree: DeviceTree, where: string): number => {
    requireLive(where);
    const id = trees.get(tree);
    if (id === undefined)
      throw new DimoError('option', `${where}: the device tree does not belong to this engine, or was disposed`);
    return id;
  };

  function makeTree(id: number, specs: SpecTree): DeviceTree {
    const tree: DeviceTree = {
      specs,
      async download(names = Object.keys(specs)) {
        const treeId = idOf(tree, 'download');
        for (const name of names)
          if (!Object.hasOwn(specs, name)) throw new DimoError('shape', `download: the tree has no tensor "${name}"`);
        return worker.call('download', { tree: treeId, names });
      },
      async assign(values) {
        const treeId = idOf(tree, 'assign');
        checkSubtree('assign', specs, values);
        const { tensors, transfer } = detachedCopy(values);
        await worker.call('assign', { tree: treeId, tensors }, transfer);
      },
      async dispose() {
        const treeId = trees.get(tree);
        if (treeId === undefined || isDisposed) return;
        trees.delete(tree);
        await worker.call('releaseTree', { tree: treeId });
      },
    };
    trees.set(tree, id);
    return tree;
  }

  return {
    info: {
      name: 'onnx',
      device: `CPU, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
      versions,
    },

    async upload(values) {
      requireLive('upload');
      const id = nextTree++;
      const specs = specsOf(values);
      const { tensors, transfer } = detachedCopy(values);
      await worker.call('upload', { tree: id, tensors }, transfer);
      return makeTree(id, specs);
    },

    async compile(fn, signature): Promise<CompiledFunction> {
      requireLive('compile');
      // A copy: transferring would take the emitter's memory away.
      const model = (await emit(fn, signature)).slice();
      const id = nextFunction++;
      const ports = await worker.call('compile', { fn: id, model, sessionOptions }, [model.buffer as ArrayBuffer]);
      checkSubtree(
        'compile: state that the function returns',
        signature.state,
        portSpecs(ports.outputs, prefixes.newState),
      );
      let isReleased = false;
      return {
        signature,
        async run(state, inputs): Promise<HostTree> {
          const tree = idOf(state, 'run');
          if (isReleased) throw new DimoError('option', 'run: the compiled function has been disposed');
          checkTree('run: inputs', signature.inputs, inputs);
          checkTree('run: state', signature.state, pick(state.specs, Object.keys(signature.state)));
          const { tensors, transfer } = detachedCopy(inputs);
          return worker.call('run', { fn: id, tree, inputs: tensors }, transfer);
        },
        async dispose() {
          if (isReleased || isDisposed) return;
          isReleased = true;
          await worker.call('releaseFunction', { fn: id });
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
function requirePackage(): void {
  try {
    createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
  } catch (cause) {
    throw new BackendUnavailableError('onnx engine: the package onnxruntime-node is not installed', {
      cause,
      hint: `run \`${installCommand}\`; where its download host is blocked, \`ONNXRUNTIME_NODE_INSTALL=skip ${installCommand}\``,
    });
  }
}

async function loadRuntime(worker: OnnxWorker): Promise<{ readonly versions: Readonly<Record<string, string>> }> {
  try {
    return await worker.call('load', {});
  } catch (cause) {
    await worker.close().catch(() => {});
    const message = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new BackendUnavailableError(`onnx engine: onnxruntime-node cannot be loaded: ${message}`, {
      cause,
      hint: `reinstall it for this platform: \`npm uninstall onnxruntime-node && ${installCommand}\``,
    });
  }
}

function pick(tree: SpecTree, names: readonly string[]): SpecTree {
  return Object.fromEntries(names.flatMap((name) => (Object.hasOwn(tree, name) ? [[name, tree[name]!]] : [])));
}
