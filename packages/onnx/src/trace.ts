/** Tracing: runs a pure function once on the recording backend. */
import * as tf from '@tensorflow/tfjs-core';
import { DimoError, type FunctionSignature, type PureFunction, type SpecTree, type TensorTree } from '@dimo/core';
import { backendName, registerTraceKernels, TraceBackend } from './backend.js';
import { createGraphBuilder, type GraphBuilder, type LoweringOptions } from './builder.js';
import { graphFingerprint } from './describe.js';
import { portPrefix, sameShape, type GraphPort, type PortRole, type TracedGraph, type Value } from './graph.js';
import { lazy, materialize } from './lazy.js';
import { settle } from './lazy-reshape.js';
import { removeDeadNodes } from './passes/dead-nodes.js';
import { fuseBias } from './passes/fuse-bias.js';

/** Options of `trace`. */
export interface TraceOptions extends LoweringOptions {
  /**
   * Trace twice and compare, which finds functions that draw random numbers, read a clock or count calls: such a value
   * would be frozen into the graph.
   *
   * @default true
   */
  readonly checkPurity?: boolean;
}

let isTracing = false;

/**
 * Traces a pure function, gradients included, into one graph.
 *
 * Graph inputs are the state tensors (`s:name`) and inputs (`i:name`) that the function reads. Graph outputs are its
 * outputs (`o:name`) and the state tensors that it replaces (`n:name`); a state tensor returned as it came is not
 * replaced.
 *
 * Synchronous: nothing else may use tfjs meanwhile, and the backend that was active is active again afterwards.
 *
 * @throws DimoError with code `trace` if the function captures an eager tensor, reads a value, uses a kernel that has no
 *   lowering, is not pure, or returns state that does not fit the signature.
 */
export function trace(fn: PureFunction, signature: FunctionSignature, options: TraceOptions = {}): TracedGraph {
  const graph = traceOnce(fn, signature, options);
  if (options.checkPurity ?? true) {
    const again = traceOnce(fn, signature, options);
    if (graphFingerprint(graph) !== graphFingerprint(again))
      throw new DimoError('trace', 'tracing the function twice gave two different graphs', {
        hint: 'a pure function draws no random numbers, reads no clock and keeps no count: pass such values as inputs',
      });
  }
  return graph;
}

function traceOnce(fn: PureFunction, signature: FunctionSignature, options: TraceOptions): TracedGraph {
  const engine = tf.engine();
  if (isTracing) throw new DimoError('trace', 'trace was called inside a traced function');
  if (engine.state.gradientDepth > 0)
    throw new DimoError('trace', 'trace was called while tfjs records a gradient', {
      hint: 'trace a function that takes the gradient inside',
    });
  const builder = createGraphBuilder(options);
  const backend = new TraceBackend(builder);
  const previous = engine.backendName as string | null | undefined;
  registerTraceKernels();
  engine.registerBackend(backendName, () => backend, 0);
  isTracing = true;
  let hasScope = false;
  try {
    void engine.setBackend(backendName); // no await: the factory is synchronous, so the switch is too
    engine.startScope('trace');
    hasScope = true;
    const inputs: GraphPort[] = [];
    const arguments_ = (role: PortRole, specs: SpecTree): TensorTree =>
      Object.fromEntries(
        Object.entries(specs).map(([key, spec]) => {
          const name = portPrefix[role] + key;
          const value = builder.input(name, { type: spec.dtype, shape: spec.shape });
          inputs.push({ name, role, key, dtype: spec.dtype, shape: spec.shape, value });
          // Tracked by the scope, which disposes it.
          return [key, engine.makeTensorFromTensorInfo(backend.register(lazy(value)), backend)];
        }),
      );
    const result = fn(arguments_('state', signature.state), arguments_('input', signature.inputs));
    if (result instanceof Promise)
      throw new DimoError('trace', 'the traced function returned a promise', {
        hint: 'pure functions are synchronous',
      });
    const outputs = [
      ...collect(builder, backend, 'output', result.outputs),
      ...collect(builder, backend, 'newState', checkedState(result.state ?? {}, signature.state)).filter(
        ({ key, value }) => !(value.source.kind === 'input' && value.source.name === portPrefix.state + key),
      ),
    ];
    return fuseBias(removeDeadNodes({ inputs, outputs, nodes: builder.allNodes() }));
  } catch (error) {
    if (DimoError.isInstance(error)) throw error;
    throw new DimoError('trace', `the function failed while it was traced: ${messageOf(error)}`, { cause: error });
  } finally {
    if (hasScope) engine.endScope();
    engine.removeBackend(backendName);
    if (previous) void engine.setBackend(previous);
    isTracing = false;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function collect(builder: GraphBuilder, backend: TraceBackend, role: PortRole, tree: TensorTree): GraphPort[] {
  return Object.entries(tree).map(([key, tensor]) => {
    const value: Value = materialize(builder, settle(builder, backend.lookup(tensor, `${role} ${key}`)));
    const dtype = tensor.dtype as GraphPort['dtype'];
    return { name: portPrefix[role] + key, role, key, dtype, shape: value.shape, value };
  });
}

function checkedState(state: TensorTree, specs: SpecTree): TensorTree {
  for (const [key, tensor] of Object.entries(state)) {
    const spec = Object.hasOwn(specs, key) ? specs[key] : undefined;
    if (!spec)
      throw new DimoError('trace', `the function returned state ${key}, which is not in the signature`, {
        hint: `the signature has: ${Object.keys(specs).slice(0, 20).join(', ')}`,
      });
    if (spec.dtype !== tensor.dtype || !sameShape(spec.shape, tensor.shape))
      throw new DimoError(
        'trace',
        `state ${key} must keep ${spec.dtype} [${spec.shape.join(', ')}], the function returned ${tensor.dtype} [${tensor.shape.join(', ')}]`,
      );
  }
  return state;
}
