/**
 * An engine that runs pure functions eagerly on a tfjs backend which the caller has registered (and, if it needs that,
 * initialized): the reference for the other engines, and the base of the Node and browser engines on tfjs backends.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { boundNames, checkHostTree, checkSpecTree } from './check-tensors.js';
import { checkSubtree, checkTree } from '../tensors/check-tree.js';
import type { CompiledFunction, DeviceTree, Engine, EngineInfo, FunctionSignature, PureFunction } from './engine.js';
import { hasKernel } from '../ops/dispatch.js';
import { drawOnDevice } from '../ops/drawn-tensor.js';
import { BackendUnavailableError, DimoError, ShapeError } from '../errors.js';
import {
  specsOf,
  type DType,
  type HostTensor,
  type HostTree,
  type SpecTree,
  type TensorTree,
} from '../tensors/tensors.js';

/** Facts about the engine that `eagerEngine` cannot know. */
export type EagerEngineInfo = Partial<EngineInfo>;

/** What a backend adds to the engine. */
export interface EagerEngineHooks {
  /**
   * Called when the outputs of a run have been read, before its state tensors replace the old ones. A backend whose
   * device fails without throwing (WebGPU reports errors as events) throws here, and the state stays as it was.
   */
  readonly beforeCommit?: () => void;
}

/** A device tree of the eager engine; the tensors are visible to the engine's functions only. */
interface EagerTree extends DeviceTree {
  /** Scratch tensors are missing until they are written. */
  readonly tensors: TensorTree;
  /** Of all tensors, scratch included. */
  readonly allSpecs: SpecTree;
  commit(values: TensorTree): void;
}

/**
 * An engine on a registered tfjs backend. Several engines, on one or several backends, may live in one process; each
 * selects its backend for as long as it computes and restores the previous one.
 *
 * @param backendName - as registered with tfjs: `cpu`, `wasm`, `webgpu`, `tensorflow`.
 * @param info - replaces parts of `engine.info`.
 * @param hooks - what the backend adds.
 * @throws BackendUnavailableError when first used, if the backend is not registered or fails to initialize.
 */
export function eagerEngine(backendName: string, info: EagerEngineInfo = {}, hooks: EagerEngineHooks = {}): Engine {
  const trees = new Set<EagerTree>();
  let queue: Promise<unknown> = Promise.resolve();
  let isDisposed = false;

  function requireLive(where: string): void {
    if (isDisposed)
      throw new DimoError('option', `${where}: this ${backendName} engine has been disposed; make a new one`);
  }

  function requireTree(where: string, tree: EagerTree): void {
    if (!trees.has(tree))
      throw new DimoError('option', `${where}: the device tree does not belong to this engine, or was disposed`);
  }

  /** Runs one task after the other: a run's state must not change while its outputs are being read. */
  function enqueue<T>(task: () => Promise<T>): Promise<T> {
    const result = queue.then(task);
    queue = result.catch(() => {});
    return result;
  }

  /** Initializes the backend (asynchronously, once) without leaving it selected. */
  async function prepare(): Promise<void> {
    if (tf.engine().registry[backendName]) return;
    const previous = tf.engine().backendName;
    let ready = false;
    let cause: unknown;
    try {
      ready = await tf.setBackend(backendName);
    } catch (error) {
      cause = error;
    }
    if (previous && previous !== backendName) await tf.setBackend(previous);
    if (!ready)
      throw new BackendUnavailableError(`eager engine: the tfjs backend "${backendName}" cannot be initialized`, {
        cause,
        hint: 'register the backend with tfjs before making the engine',
      });
  }

  /** Calls `compute` with the backend selected. Switching between initialized backends is synchronous in tfjs. */
  function onBackend<T>(compute: () => T): T {
    const previous = tf.engine().backendName;
    void tf.setBackend(backendName);
    try {
      return compute();
    } finally {
      if (previous && previous !== backendName && tf.engine().registry[previous]) void tf.setBackend(previous);
    }
  }

  function makeTree(specs: SpecTree, scratch: SpecTree, tensors: TensorTree): EagerTree {
    const allSpecs = { ...specs, ...scratch };
    const tree: EagerTree = {
      specs,
      allSpecs,
      tensors,
      download: (names = Object.keys(specs)) =>
        enqueue(async () => {
          requireTree('download', tree);
          const selected = names.map((name) => {
            if (!Object.hasOwn(tensors, name)) throw new ShapeError(`download: the tree has no tensor "${name}"`);
            return [name, tensors[name]!] as const;
          });
          return readAll(selected);
        }),
      assign: (values) =>
        enqueue(async () => {
          requireTree('assign', tree);
          checkHostTree('assign', values);
          checkSubtree('assign', allSpecs, values);
          tree.commit(onBackend(() => toTensors(values)));
        }),
      // In turn: a run that was begun before still reads and replaces the tensors.
      dispose: () =>
        enqueue(async () => {
          if (trees.delete(tree)) for (const tensor of Object.values(tensors)) tensor.dispose();
        }),
      commit(values) {
        for (const [name, tensor] of Object.entries(values)) {
          tensors[name]?.dispose();
          tensors[name] = tensor;
        }
      },
    };
    trees.add(tree);
    return tree;
  }

  return {
    get info(): EngineInfo {
      return { name: backendName, device: 'CPU', versions: { 'tfjs-core': tf.version_core }, ...info };
    },

    get makesRandomNumbers(): boolean {
      return hasKernel('DimoRandomNumbers', backendName);
    },

    async upload(tree, { scratch = {} } = {}) {
      requireLive('upload');
      checkHostTree('upload', tree);
      checkSpecTree('upload: scratch', scratch);
      await prepare();
      return makeTree(
        specsOf(tree),
        scratch,
        onBackend(() => toTensors(tree)),
      );
    },

    async compile(fn, signature): Promise<CompiledFunction> {
      requireLive('compile');
      checkSpecTree('compile: state', signature.state);
      checkSpecTree('compile: inputs', signature.inputs);
      await prepare();
      let isReleased = false;
      return {
        signature,
        run: (state, inputs, names) => {
          // What is begun before is finished, so this is seen at the call.
          const wasReleased = isReleased;
          return enqueue(async () => {
            const tree = state as EagerTree;
            requireTree('run', tree);
            if (wasReleased) throw new DimoError('option', 'run: the compiled function has been disposed');
            checkHostTree('run: inputs', inputs);
            checkTree('run: inputs', signature.inputs, inputs);
            const bound = boundNames(signature, names);
            checkTree('run: state', signature.state, pick(tree.allSpecs, bound));
            const result = onBackend(() => compute(fn, signature, pick(tree.tensors, bound), inputs, backendName));
            try {
              const outputs = await readAll(Object.entries(result.outputs));
              hooks.beforeCommit?.();
              tree.commit(
                Object.fromEntries(Object.entries(result.state).map(([name, value]) => [bound[name]!, value])),
              );
              result.state = {};
              return outputs;
            } finally {
              for (const tensor of [...Object.values(result.outputs), ...Object.values(result.state)]) tensor.dispose();
            }
          });
        },
        dispose: async () => {
          isReleased = true;
        },
      };
    },

    async dispose() {
      isDisposed = true;
      for (const tree of [...trees]) await tree.dispose();
    },
  };
}

/** Runs the function; the returned tensors belong to the caller, everything else is disposed, also when it throws. */
function compute(
  fn: PureFunction,
  signature: FunctionSignature,
  state: TensorTree,
  inputs: HostTree,
  backendName: string,
): { state: TensorTree; outputs: TensorTree } {
  try {
    const [newState, outputs] = tf.tidy(() => {
      const result = fn(state, toTensors(inputs));
      checkSubtree('run: returned state', signature.state, specsOfTensors(result.state ?? {}));
      // A function may return what it was given: a clone makes every result a tensor of its own.
      const own = (tree: TensorTree) =>
        mapTree(tree, (tensor) => {
          if (tensor instanceof tf.Tensor) return tf.clone(tensor);
          throw new ShapeError(`run: the function must return tensors, got ${typeof tensor}`);
        });
      return [own(result.state ?? {}), own(result.outputs)] as [TensorTree, TensorTree];
    });
    return { state: newState, outputs };
  } catch (error) {
    if (DimoError.isInstance(error)) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new DimoError('device', `run: the function failed on the tfjs backend "${backendName}": ${message}`, {
      cause: error,
    });
  }
}

function toTensors(tree: HostTree): TensorTree {
  // Copied: the cpu backend would otherwise compute on the caller's own memory.
  return mapTree(
    tree,
    (tensor) => drawOnDevice(tensor) ?? tf.tensor(tensor.data.slice(), [...tensor.shape], tensor.dtype),
  );
}

function specsOfTensors(tree: TensorTree): SpecTree {
  return mapTree(tree, ({ shape, dtype }) => ({ shape, dtype: dtype as DType }));
}

async function readAll(entries: readonly (readonly [string, Tensor])[]): Promise<HostTree> {
  const values = await Promise.all(entries.map(async ([, tensor]) => toHost(tensor)));
  return Object.fromEntries(entries.map(([name], i) => [name, values[i]!]));
}

async function toHost(tensor: Tensor): Promise<HostTensor> {
  const values = await tensor.data();
  const { shape } = tensor;
  switch (tensor.dtype) {
    case 'float32':
      return { dtype: 'float32', shape, data: Float32Array.from(values) };
    case 'int32':
      return { dtype: 'int32', shape, data: Int32Array.from(values) };
    case 'bool':
      return { dtype: 'bool', shape, data: Uint8Array.from(values) };
    default:
      throw new DimoError('shape', `run: a result has dtype ${tensor.dtype}, which engines do not carry`);
  }
}

function mapTree<A, B>(tree: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(tree).map(([name, value]) => [name, map(value)]));
}

/** What `tree` has under other names. */
function pick<T>(tree: Record<string, T>, names: Readonly<Record<string, string>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(names).flatMap(([name, held]) => (Object.hasOwn(tree, held) ? [[name, tree[held]!]] : [])),
  );
}
