/**
 * The half of an engine on onnxruntime that faces the caller: functions become graphs, and everything that has to do with
 * sessions and state is asked of a session host, on this thread or on another.
 */
import {
  boundNames,
  checkHostTree,
  checkSpecTree,
  checkSubtree,
  checkTree,
  DimoError,
  specsOf,
  type CompiledFunction,
  type CompileOptions,
  type DeviceTree,
  type Engine,
  type EngineInfo,
  type FunctionSignature,
  type HostTensor,
  type HostTree,
  type PureFunction,
  type SpecTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LoweringOptions } from '../builder.js';
import { graphCost } from '../cost.js';
import { emitModel } from '../emit.js';
import { leanGraph, recomputesBlocks } from '../passes/recompute.js';
import { trace } from '../trace.js';
import { float16Values, hostTreeOf, wireTree } from './half-state.js';
import { portSpecs, prefixes, type HostOperation, type HostOperations } from './protocol.js';

/**
 * Bytes of an ONNX model whose ports are named with `prefixes`.
 *
 * @param halves - float32 inputs that are fed as float16, by port name: the value is that times 2^-exponent.
 */
export type ModelBytes = ((halves: Readonly<Record<string, number>>) => Uint8Array) & {
  /** What the intermediate results of a run take at one time. @default not known */
  readonly intermediateBytes?: number;
};

/** Turns a pure function into an ONNX model. */
export type ModelEmitter = (fn: PureFunction, signature: FunctionSignature) => ModelBytes | Promise<ModelBytes>;

/** A session host within reach: requests are served as if one after another, in the order of the calls. */
export interface SessionHostCalls {
  call<Op extends HostOperation>(
    op: Op,
    body: HostOperations[Op]['request'],
    transfer?: readonly ArrayBuffer[],
  ): Promise<HostOperations[Op]['response']>;
  /** Releases what the host holds, once the requests before are served. */
  close(): Promise<void>;
}

/** What `sessionEngine` is made of. */
export interface SessionEngineOptions {
  readonly info: EngineInfo;
  readonly host: SessionHostCalls;
  readonly emit: ModelEmitter;
  /** Session options of onnxruntime for every graph, or for one by what its intermediate results take and by its options. */
  readonly sessionOptions:
    | Readonly<Record<string, unknown>>
    | ((intermediateBytes: number, options: CompileOptions) => Readonly<Record<string, unknown>>);
  /** Whether state is kept on another device, which computes with float32: 16 bits are then widened on the way. */
  readonly isResident: boolean;
  /** Requests that the host serves best at a time. @default one after another */
  readonly parallelRuns?: number;
  /** Throws if a tensor is larger than the device can take. */
  readonly checkSpecs?: (where: string, specs: SpecTree) => void;
}

/** A device tree at the host. */
interface TreeState {
  readonly id: number;
  /** Of all tensors, scratch included. */
  readonly specs: SpecTree;
  /** Tensors held as float16, with their exponents. */
  readonly halves: Map<string, number>;
}

/**
 * The tracer of this package.
 *
 * @param recomputeFrom - bytes of intermediate results from which on some are computed twice instead of kept. @default never
 */
export function tracingEmitter(lowering: LoweringOptions = {}, recomputeFrom = Infinity): ModelEmitter {
  return async (fn, signature) => {
    // While another backend starts (asynchronously), tfjs refuses every op on any backend, the tracer's included.
    await (tf.engine() as unknown as { pendingBackendInit?: Promise<boolean> | null }).pendingBackendInit;
    const traced = trace(fn, signature, lowering);
    const { peakBytes } = graphCost(traced);
    const graph = leanGraph(traced, recomputeFrom);
    return Object.assign((halves: Readonly<Record<string, number>>) => emitModel(graph, { halves }), {
      // Who computes blocks twice wants little memory whatever is left of it.
      intermediateBytes: recomputesBlocks(traced) ? Math.max(peakBytes, recomputeFrom) : peakBytes,
    });
  };
}

/** An engine over a session host. */
export function sessionEngine(options: SessionEngineOptions): Engine {
  const { info, host, emit, sessionOptions, isResident, parallelRuns, checkSpecs = () => {} } = options;
  const { name } = info;
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
    if (held.length > 0) host.call('widen', { tree: tree.id, names: held, values: float16Values() }).catch(() => {});
  };

  function makeTree(state: TreeState, specs: SpecTree): DeviceTree {
    const tree: DeviceTree = {
      specs,
      async download(names = Object.keys(specs)) {
        const { id } = stateOf(tree, 'download');
        for (const name of names)
          if (!Object.hasOwn(state.specs, name))
            throw new DimoError('shape', `download: the tree has no tensor "${name}"`);
        return hostTreeOf(await host.call('download', { tree: id, names }));
      },
      async assign(values) {
        const { id } = stateOf(tree, 'assign');
        checkHostTree('assign', values);
        checkSubtree('assign', state.specs, values);
        widen(state, Object.keys(values));
        const { tensors, transfer } = detachedCopy(values);
        await host.call('assign', { tree: id, tensors }, transfer);
      },
      async dispose() {
        if (!trees.delete(tree) || isDisposed) return;
        await host.call('releaseTree', { tree: state.id });
      },
    };
    trees.set(tree, state);
    return tree;
  }

  return {
    info,
    ...(parallelRuns === undefined ? {} : { parallelRuns }),

    async upload(values, options) {
      requireLive('upload');
      checkHostTree('upload', values);
      const { scratch = {} } = options ?? {};
      checkSpecTree('upload: scratch', scratch);
      const id = nextTree++;
      const specs = specsOf(values);
      const allSpecs = { ...specs, ...scratch };
      checkSpecs('upload', allSpecs);
      // Other devices compute with float32: 16 bits are widened here, once, and not in every run.
      const { tensors, transfer } = isResident ? detachedCopy(values) : wireTree(values, options);
      const halves = new Map(
        Object.entries(tensors).flatMap(([name, tensor]) => ('bits' in tensor ? [[name, tensor.exponent]] : [])),
      );
      await host.call('upload', { tree: id, tensors, scratch }, transfer);
      return makeTree({ id, halves, specs: allSpecs }, specs);
    },

    async compile(fn, signature, compileOptions = {}): Promise<CompiledFunction> {
      requireLive('compile');
      checkSpecTree('compile: state', signature.state);
      checkSpecTree('compile: inputs', signature.inputs);
      checkSpecs('compile', { ...signature.state, ...signature.inputs });
      const bytes = await emit(fn, signature);
      const given =
        typeof sessionOptions === 'function'
          ? sessionOptions(bytes.intermediateBytes ?? 0, compileOptions)
          : sessionOptions;
      const ids = new Map<string, number>();
      /** Posts the model for a set of 16-bit tensors. */
      const build = (halves: Readonly<Record<string, number>>) => {
        // A copy: transferring it would take the emitter's memory away.
        const model = bytes(halves).slice();
        const id = nextFunction++;
        ids.set(JSON.stringify(halves), id);
        return host.call('compile', { fn: id, model, sessionOptions: given }, [model.buffer as ArrayBuffer]);
      };
      const ports = await build({});
      const newState = portSpecs(ports.outputs, prefixes.newState);
      checkSubtree('compile: state that the function returns', signature.state, newState);
      const readState = Object.keys(portSpecs(ports.inputs, prefixes.state));
      const usedState = [...new Set([...readState, ...Object.keys(newState)])];
      let isReleased = false;
      return {
        signature,
        async run(state, inputs, boundTo): Promise<HostTree> {
          const tree = stateOf(state, 'run');
          if (isReleased) throw new DimoError('option', 'run: the compiled function has been disposed');
          checkHostTree('run: inputs', inputs);
          checkTree('run: inputs', signature.inputs, inputs);
          const names = boundNames(signature, boundTo);
          checkTree('run: state', signature.state, pick(tree.specs, names));
          const heldBy = (name: string) => names[name]!;
          const written = Object.keys(newState).map(heldBy);
          widen(tree, written); // what changes is float32 from now on
          const held = readState.filter((name) => tree.halves.has(heldBy(name)));
          const halves = Object.fromEntries(
            held.map((name) => [prefixes.state + name, tree.halves.get(heldBy(name))!]),
          );
          const key = JSON.stringify(halves);
          const building = ids.has(key) ? undefined : build(halves);
          building?.catch(() => ids.delete(key));
          const { tensors, transfer } = detachedCopy(inputs);
          const sent = Object.fromEntries(usedState.map((name) => [name, heldBy(name)]));
          // Posted before anything is awaited, so that runs keep the order of their calls.
          const request = { fn: ids.get(key)!, tree: tree.id, inputs: tensors, names: sent, written };
          const result = host.call('run', request, transfer);
          result.catch(() => {});
          await building;
          return result;
        },
        async dispose() {
          if (isReleased || isDisposed) return;
          isReleased = true;
          await Promise.all([...ids.values()].map((fn) => host.call('releaseFunction', { fn })));
        },
      };
    },

    async dispose() {
      if (isDisposed) return;
      isDisposed = true;
      trees.clear();
      await host.close();
    },
  };
}

/**
 * Copies of host tensors whose buffers may move to another thread. A copy is needed anyway, and structured cloning of a
 * view would copy the whole buffer behind it, for example an entire dataset behind one batch.
 */
function detachedCopy(tree: HostTree): { tensors: HostTree; transfer: ArrayBuffer[] } {
  const transfer: ArrayBuffer[] = [];
  const tensors = Object.fromEntries(
    Object.entries(tree).map(([name, { dtype, shape, data }]) => {
      const copy = data.slice();
      transfer.push(copy.buffer as ArrayBuffer);
      return [name, { dtype, shape: [...shape], data: copy } as HostTensor];
    }),
  );
  return { tensors, transfer };
}

/** What `tree` has under other names. */
function pick(tree: SpecTree, names: Readonly<Record<string, string>>): SpecTree {
  return Object.fromEntries(
    Object.entries(names).flatMap(([name, held]) => (Object.hasOwn(tree, held) ? [[name, tree[held]!]] : [])),
  );
}
