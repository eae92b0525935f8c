/**
 * Tensors and sessions of onnxruntime through its C API, in the form that session hosts take. A run is bound and begun on
 * the caller's thread and computes on another, so several can be under way, also of one session.
 */
import type { RuntimeMetadata, RuntimeSession, RuntimeTensor, SessionRuntime } from '@dimo/onnx/sessions';
import type { OrtApi, OrtFunction, Out, Pointer } from './ort-api.js';
import { textOf } from './ort-memory.js';
import { makeSessionOptions, type NativeSessionOptions } from './ort-session-options.js';

/** Arrays of the elements of tensors here. */
type Elements = Float32Array | Int32Array | Uint8Array | Uint16Array;

/** Types of elements by their numbers in the C API. */
const elementTypes: Readonly<
  Record<string, { readonly code: number; readonly array: new (size: number) => Elements }>
> = {
  float32: { code: 1, array: Float32Array },
  int32: { code: 6, array: Int32Array },
  bool: { code: 9, array: Uint8Array },
  float16: { code: 10, array: Uint16Array },
};
const typeNames = new Map(Object.entries(elementTypes).map(([name, { code }]) => [code, name]));

/** Memory of a device, as `CreateMemoryInfo` names it. */
export type DeviceMemory = 'Cpu' | 'Cuda';

/** A runtime, and the way to end it early. */
export interface NativeRuntime extends SessionRuntime {
  /** Makes runs that are under way fail soon. */
  terminate(): void;
}

/** Options of `nativeRuntime`. */
export interface NativeRuntimeOptions {
  /** Where outputs with the location `gpu-buffer` are left. */
  readonly deviceMemory: DeviceMemory;
  /** A graph that costs nothing: the shared arena gives memory back at the end of a run. It copies a float32 `s:x`. */
  readonly copy: Uint8Array;
}

/** A runtime on a library. */
export function nativeRuntime(api: OrtApi, { deviceMemory, copy }: NativeRuntimeOptions): NativeRuntime {
  // Allocator 0: the device's own. Kind 0: the memory that providers compute in.
  const hostMemory = api.make('CreateMemoryInfo', 'Cpu', 0, 0, 0);
  const memories = { cpu: hostMemory, 'gpu-buffer': api.make('CreateMemoryInfo', deviceMemory, 0, 0, 0) };
  /** Options of the runs under way. */
  const running = new Set<Pointer>();

  /** Memory of JavaScript, or a value of the library's own. */
  class NativeTensor implements RuntimeTensor {
    readonly location: 'cpu' | 'gpu-buffer';
    private value: Pointer = null;
    constructor(
      readonly type: string,
      private readonly elements: Elements | undefined,
      readonly dims: readonly number[],
      value: Pointer = null,
    ) {
      this.location = elements ? 'cpu' : 'gpu-buffer';
      this.value = value;
    }
    get data(): Elements {
      if (!this.elements) throw new Error('the elements of this tensor are on the device');
      return this.elements;
    }
    /** Calls with the tensor as a value of the library. */
    use(take: (value: Pointer) => void): void {
      if (!this.elements) {
        if (this.value === null) throw new Error('this tensor has been disposed');
        return take(this.value);
      }
      const value = hostValue(this.type, this.elements, this.dims);
      try {
        take(value);
      } finally {
        api.call('ReleaseValue', value); // a binding holds it as long as it needs it
      }
    }
    dispose(): void {
      if (this.value !== null) api.call('ReleaseValue', this.value);
      this.value = null;
    }
  }

  function hostValue(type: string, elements: Elements, dims: readonly number[]): Pointer {
    const { code } = elementTypes[type]!;
    // The library wants an address even of nothing.
    const memory = elements.length > 0 ? elements : new Uint8Array(8);
    const address = api.koffi.address(memory);
    const lengths = BigInt64Array.from(dims, BigInt);
    return api.make(
      'CreateTensorWithDataAsOrtValue',
      ...[hostMemory, address, elements.byteLength, lengths, dims.length, code],
    );
  }

  /** Type and lengths of a value. */
  function describeValue(value: Pointer): { type: string; dims: number[] } {
    const info = api.make('GetTensorTypeAndShape', value);
    try {
      return describeTensor(api, info);
    } finally {
      api.call('ReleaseTensorTypeAndShapeInfo', info);
    }
  }

  /** A value that a run has left on the host or on the device. */
  function taken(value: Pointer, location: 'cpu' | 'gpu-buffer'): NativeTensor {
    const { type, dims } = describeValue(value);
    if (location === 'gpu-buffer') return new NativeTensor(type, undefined, dims, value);
    try {
      const size = dims.reduce((product, length) => product * length, 1);
      const elements = new elementTypes[type]!.array(size);
      if (size > 0) {
        const source = api.koffi.view(api.make('GetTensorMutableData', value), elements.byteLength);
        new Uint8Array(elements.buffer).set(new Uint8Array(source));
      }
      return new NativeTensor(type, elements, dims);
    } finally {
      api.call('ReleaseValue', value);
    }
  }

  class NativeSession implements RuntimeSession {
    readonly inputMetadata: readonly RuntimeMetadata[];
    readonly outputMetadata: readonly RuntimeMetadata[];
    readonly inputNames: readonly string[];
    readonly outputNames: readonly string[];
    /** Names where the library can read them. */
    private readonly texts: ReadonlyMap<string, Uint8Array>;
    private allocator: Pointer = null;
    constructor(
      private pointer: Pointer,
      private readonly locations: Readonly<Record<string, string>>,
    ) {
      this.inputMetadata = portsOf(api, pointer, 'Input');
      this.outputMetadata = portsOf(api, pointer, 'Output');
      this.inputNames = this.inputMetadata.map(({ name }) => name);
      this.outputNames = this.outputMetadata.map(({ name }) => name);
      this.texts = new Map([...this.inputNames, ...this.outputNames].map((name) => [name, textOf(name)]));
    }

    async run(
      feeds: Readonly<Record<string, RuntimeTensor>>,
      fetches: Readonly<Record<string, RuntimeTensor>> = {},
    ): Promise<Record<string, RuntimeTensor>> {
      if (this.pointer === null) throw new Error('this session has been released');
      const options = api.make('CreateRunOptions');
      if (this === shrinking) api.call('AddRunConfigEntry', options, 'memory.enable_memory_arena_shrinkage', 'cpu:0');
      const binding = api.make('CreateIoBinding', this.pointer);
      running.add(options);
      try {
        for (const name of this.inputNames)
          (feeds[name] as NativeTensor).use((value) => api.call('BindInput', binding, this.texts.get(name), value));
        for (const name of this.outputNames) this.bindOutput(binding, name, fetches[name]);
        await api.callAsync('RunWithBinding', this.pointer, options, binding);
        return this.results(binding, fetches);
      } finally {
        running.delete(options);
        // Until here what is bound must not go; `feeds` and `fetches` are held by this function.
        api.call('ReleaseIoBinding', binding);
        api.call('ReleaseRunOptions', options);
      }
    }

    private locationOf(name: string): 'cpu' | 'gpu-buffer' {
      return this.locations[name] === 'gpu-buffer' ? 'gpu-buffer' : 'cpu';
    }

    private bindOutput(binding: Pointer, name: string, given: RuntimeTensor | undefined): void {
      const text = this.texts.get(name);
      if (given) (given as NativeTensor).use((value) => api.call('BindOutput', binding, text, value));
      else api.call('BindOutputToDevice', binding, text, memories[this.locationOf(name)]);
    }

    private results(binding: Pointer, fetches: Readonly<Record<string, RuntimeTensor>>): Record<string, RuntimeTensor> {
      if (this.outputNames.every((name) => fetches[name])) return { ...fetches };
      const [list, count]: [Out<Pointer>, Out<number>] = [[null], [0]];
      api.call('GetBoundOutputValues', binding, api.allocator, list, count);
      const values = api.koffi.decode(list[0], 'void*', count[0]) as bigint[];
      api.call('AllocatorFree', api.allocator, list[0]);
      return Object.fromEntries(
        this.outputNames.map((name, index) => {
          const given = fetches[name];
          if (given) api.call('ReleaseValue', values[index]!);
          return [name, given ?? taken(values[index]!, this.locationOf(name))];
        }),
      );
    }

    allocate(type: string, dims: readonly number[]): RuntimeTensor {
      // Held until the session goes: what it has allocated is given back through it.
      this.allocator ??= api.make('CreateAllocator', this.pointer, memories['gpu-buffer']);
      const { code } = elementTypes[type]!;
      const lengths = BigInt64Array.from(dims, BigInt);
      const value = api.make('CreateTensorAsOrtValue', this.allocator, lengths, dims.length, code);
      return new NativeTensor(type, undefined, dims, value);
    }

    async release(): Promise<void> {
      this.close();
      await shrinkArena();
    }

    close(): void {
      if (this.allocator !== null) api.call('ReleaseAllocator', this.allocator);
      this.allocator = null;
      if (this.pointer !== null) api.call('ReleaseSession', this.pointer);
      this.pointer = null;
    }
  }

  async function createSession(model: Uint8Array, given: NativeSessionOptions): Promise<NativeSession> {
    const options = makeSessionOptions(api, given);
    const session: Out<Pointer> = [null];
    try {
      // The model is read while the session is made, and not afterwards.
      await api.callAsync('CreateSessionFromArray', api.environment, model, model.length, options, session);
    } finally {
      api.call('ReleaseSessionOptions', options);
    }
    return new NativeSession(session[0], given.preferredOutputLocation ?? {});
  }

  /** A session that exists to have the arena give back what nobody uses. */
  let shrinking: NativeSession | undefined;

  async function shrinkArena(): Promise<void> {
    const extra = { session: { use_env_allocators: '1' } };
    shrinking = await createSession(copy, { intraOpNumThreads: 1, logSeverityLevel: 4, extra });
    const scalar = () => new NativeTensor('float32', new Float32Array(1), []);
    // What it returns must not lie in the arena itself.
    await shrinking.run({ 's:x': scalar() }, { 'o:x': scalar() });
    shrinking.close();
  }

  return {
    Tensor: class extends NativeTensor {
      constructor(type: string, data: Elements, dims: readonly number[]) {
        super(type, data, [...dims]);
      }
    },
    InferenceSession: {
      create: (model, given) => createSession(model, given as NativeSessionOptions),
    },
    terminate() {
      for (const options of running) api.call('RunOptionsSetTerminate', options);
    },
  };
}

/** Inputs or outputs of a session. */
function portsOf(api: OrtApi, session: Pointer, side: 'Input' | 'Output'): RuntimeMetadata[] {
  const count: Out<number> = [0];
  api.call(`SessionGet${side}Count`, session, count);
  return Array.from({ length: count[0] }, (_, index) => {
    const text = api.make(`SessionGet${side}Name`, session, index, api.allocator);
    const name = api.koffi.decode(text, 'char', -1) as string;
    api.call('AllocatorFree', api.allocator, text);
    const info = api.make(`SessionGet${side}TypeInfo` satisfies OrtFunction, session, index);
    try {
      const tensorInfo = api.make('CastTypeInfoToTensorInfo', info); // belongs to the other
      if (tensorInfo === null) return { name, isTensor: false };
      const { type, dims } = describeTensor(api, tensorInfo);
      return { name, isTensor: true, type, shape: dims };
    } finally {
      api.call('ReleaseTypeInfo', info);
    }
  });
}

function describeTensor(api: OrtApi, info: Pointer): { type: string; dims: number[] } {
  const [code, rank]: [Out<number>, Out<number>] = [[0], [0]];
  api.call('GetTensorElementType', info, code);
  api.call('GetDimensionsCount', info, rank);
  const lengths = new BigInt64Array(rank[0]);
  if (rank[0] > 0) api.call('GetDimensions', info, lengths, rank[0]);
  return { type: typeNames.get(code[0]) ?? `type ${code[0]}`, dims: Array.from(lengths, Number) };
}
