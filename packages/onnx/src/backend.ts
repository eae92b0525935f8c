/** The tfjs backend `onnxtrace`: its kernels record nodes instead of computing. */
import * as tf from '@tensorflow/tfjs-core';
import { DimoError, sizeOf, type DType } from '@dimo/core';
import type { GraphBuilder } from './builder.js';
import { kernels } from './kernels/index.js';
import { literal } from './kernels/gather.js';
import type { TraceKernel } from './kernels/kernel.js';
import type { TracedTensor } from './lazy.js';

/** Name of the backend while a trace runs; it is not registered at other times. */
export const backendName = 'onnxtrace';

type DataId = object;

/** A backend whose tensors are nodes of a graph under construction. */
export class TraceBackend extends tf.KernelBackend {
  /** Keyed by tfjs' data id. A miss is a tensor of another backend; tfjs' own storage would silently move it here. */
  readonly #tensors = new WeakMap<DataId, TracedTensor>();

  constructor(readonly builder: GraphBuilder) {
    super();
  }

  /** Makes a tfjs tensor description of a lazy tensor. */
  register(tensor: TracedTensor): tf.TensorInfo {
    const dataId = {};
    this.#tensors.set(dataId, tensor);
    return { dataId, shape: [...tensor.shape], dtype: tensor.type };
  }

  /** The lazy tensor behind a tfjs tensor, in the tensor's shape. */
  lookup(tensor: tf.TensorInfo, where: string): TracedTensor {
    const known = this.#tensors.get(tensor.dataId);
    if (known) return known;
    throw new DimoError(
      'trace',
      `captured eager tensor in traced function (${where}): shape [${tensor.shape.join(', ')}], dtype ${tensor.dtype}`,
      { hint: 'pass it to the function as state or input, or make it inside the function' },
    );
  }

  override write(values: tf.BackendValues, shape: number[], dtype: tf.DataType): DataId {
    if (dtype !== 'float32' && dtype !== 'int32' && dtype !== 'bool')
      throw new DimoError('trace', `traced functions know float32, int32 and bool tensors, got ${dtype}`);
    return this.register(literal(this.builder, dtype, shape, values as ArrayLike<number>)).dataId;
  }

  override readSync(dataId: DataId): tf.BackendValues {
    const tensor = this.#tensors.get(dataId);
    if (tensor?.kind === 'splat') return filled(tensor.type, sizeOf(tensor.shape), tensor.number);
    if (tensor?.kind === 'value' && tensor.value.source.kind === 'constant')
      return copied(tensor.type, tensor.value.source.data);
    throw new DimoError('trace', 'a tensor was read (dataSync, arraySync, print) in a traced function', {
      hint: 'a value cannot be read while tracing: branch on shapes only, and return values as outputs',
    });
  }

  override read(dataId: DataId): Promise<tf.BackendValues> {
    return new Promise((resolve) => resolve(this.readSync(dataId)));
  }

  override disposeData(): boolean {
    return true;
  }
  override numDataIds(): number {
    return 0;
  }
  override refCount(): number {
    return 1;
  }
  override incRef(): void {}
  override memory(): { unreliable: boolean } {
    return { unreliable: true };
  }
  override floatPrecision(): 32 {
    return 32;
  }
  override epsilon(): number {
    return 1e-7;
  }
  override dispose(): void {}
}

function filled(type: DType, size: number, number: number): tf.BackendValues {
  return copied(type, new Array<number>(size).fill(number));
}

function copied(type: DType, data: ArrayLike<number>): tf.BackendValues {
  if (type === 'float32') return Float32Array.from(data);
  return type === 'int32' ? Int32Array.from(data) : Uint8Array.from(data);
}

/** Registers a kernel for every name that tfjs knows: a lowering, or one that says what is missing. */
export function registerTraceKernels(): void {
  if (tf.getKernelsForBackend(backendName).length > 0) return;
  for (const [name, lower] of Object.entries(kernels)) registerKernel(name, lower);
  for (const name of tfjsKernelNames())
    if (!Object.hasOwn(kernels, name))
      registerKernel(name, (_, inputs) => {
        const shapes = Object.entries(inputs).map(([input, { shape }]) => `${input} [${shape.join(', ')}]`);
        throw new DimoError('trace', `kernel ${name} (${shapes.join(', ')}) cannot be traced to ONNX`, {
          hint: `compose it from these kernels: ${supportedKernels().join(', ')}`,
        });
      });
}

/** Names of the tfjs kernels (and fusable ops) that can be traced. */
export function supportedKernels(): string[] {
  return Object.keys(kernels).sort();
}

/** tfjs exports each kernel name as a constant that equals its own name. */
function tfjsKernelNames(): string[] {
  return Object.entries(tf).flatMap(([key, value]) => (key === value ? [key] : []));
}

function registerKernel(kernelName: string, lower: TraceKernel): void {
  tf.registerKernel({
    kernelName,
    backendName,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const tracer = backend as TraceBackend;
      const tensors = Object.entries(inputs as Record<string, tf.TensorInfo | undefined>).flatMap(([name, tensor]) =>
        tensor ? [[name, tracer.lookup(tensor, `op ${kernelName}, input ${name}`)] as const] : [],
      );
      try {
        const result = lower(tracer.builder, Object.fromEntries(tensors), (attrs ?? {}) as Record<string, unknown>);
        return 'kind' in result ? tracer.register(result) : result.map((tensor) => tracer.register(tensor));
      } catch (error) {
        if (DimoError.isInstance(error)) throw error;
        throw new DimoError('internal', `lowering of kernel ${kernelName} failed: ${String(error)}`, { cause: error });
      }
    },
  });
}
