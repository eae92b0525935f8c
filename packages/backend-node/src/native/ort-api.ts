/**
 * The C API of onnxruntime through koffi. `OrtGetApiBase` leads to a table of function pointers in the order of
 * onnxruntime_c_api.h, which only ever grows at its end: place and signature of what is used here are those of every version
 * from `apiVersion` on.
 */
import type * as Koffi from 'koffi';

/** Version of the table that is asked for: that of onnxruntime 1.22. */
export const apiVersion = 22;

/** An address in the library; `null` is none. */
export type Pointer = bigint | null;

/** What the library writes an address or number into. */
export type Out<T> = [T];

/** Places in the table, and signatures. A status is null for success, else an address. */
const functions = {
  GetErrorMessage: [2, 'const char*', 'void* status'],
  CreateEnv: [3, 'void*', 'int level, const char* id, _Out_ void** env'],
  CreateSessionFromArray: [8, 'void*', 'void* env, void* model, size_t length, void* options, _Out_ void** session'],
  CreateSessionOptions: [10, 'void*', '_Out_ void** options'],
  SetSessionExecutionMode: [13, 'void*', 'void* options, int mode'],
  EnableMemPattern: [16, 'void*', 'void* options'],
  DisableMemPattern: [17, 'void*', 'void* options'],
  EnableCpuMemArena: [18, 'void*', 'void* options'],
  DisableCpuMemArena: [19, 'void*', 'void* options'],
  SetSessionLogSeverityLevel: [22, 'void*', 'void* options, int level'],
  SetSessionGraphOptimizationLevel: [23, 'void*', 'void* options, int level'],
  SetIntraOpNumThreads: [24, 'void*', 'void* options, int threads'],
  SetInterOpNumThreads: [25, 'void*', 'void* options, int threads'],
  SessionGetInputCount: [30, 'void*', 'void* session, _Out_ size_t* count'],
  SessionGetOutputCount: [31, 'void*', 'void* session, _Out_ size_t* count'],
  SessionGetInputTypeInfo: [33, 'void*', 'void* session, size_t index, _Out_ void** info'],
  SessionGetOutputTypeInfo: [34, 'void*', 'void* session, size_t index, _Out_ void** info'],
  SessionGetInputName: [36, 'void*', 'void* session, size_t index, void* allocator, _Out_ void** name'],
  SessionGetOutputName: [37, 'void*', 'void* session, size_t index, void* allocator, _Out_ void** name'],
  CreateRunOptions: [39, 'void*', '_Out_ void** options'],
  RunOptionsSetTerminate: [46, 'void*', 'void* options'],
  CreateTensorAsOrtValue: [48, 'void*', 'void* allocator, void* dims, size_t rank, int type, _Out_ void** value'],
  CreateTensorWithDataAsOrtValue: [
    49,
    'void*',
    'void* memory, void* data, size_t bytes, void* dims, size_t rank, int type, _Out_ void** value',
  ],
  GetTensorMutableData: [51, 'void*', 'void* value, _Out_ void** data'],
  CastTypeInfoToTensorInfo: [55, 'void*', 'void* info, _Out_ void** tensorInfo'],
  GetTensorElementType: [60, 'void*', 'void* tensorInfo, _Out_ int* type'],
  GetDimensionsCount: [61, 'void*', 'void* tensorInfo, _Out_ size_t* rank'],
  GetDimensions: [62, 'void*', 'void* tensorInfo, void* dims, size_t rank'],
  GetTensorTypeAndShape: [65, 'void*', 'void* value, _Out_ void** tensorInfo'],
  CreateMemoryInfo: [68, 'void*', 'const char* name, int allocator, int device, int kind, _Out_ void** info'],
  AllocatorFree: [76, 'void*', 'void* allocator, void* memory'],
  GetAllocatorWithDefaultOptions: [78, 'void*', '_Out_ void** allocator'],
  ReleaseStatus: [93, 'void', 'void* status'],
  ReleaseSession: [95, 'void', 'void* session'],
  ReleaseValue: [96, 'void', 'void* value'],
  ReleaseRunOptions: [97, 'void', 'void* options'],
  ReleaseTypeInfo: [98, 'void', 'void* info'],
  ReleaseTensorTypeAndShapeInfo: [99, 'void', 'void* tensorInfo'],
  ReleaseSessionOptions: [100, 'void', 'void* options'],
  AddSessionConfigEntry: [130, 'void*', 'void* options, const char* key, const char* value'],
  CreateAllocator: [131, 'void*', 'void* session, void* memory, _Out_ void** allocator'],
  ReleaseAllocator: [132, 'void', 'void* allocator'],
  CreateAndRegisterAllocator: [144, 'void*', 'void* env, void* memory, void* arena'],
  CreateArenaCfg: [156, 'void*', 'size_t limit, int growth, int first, int dead, _Out_ void** arena'],
  ReleaseArenaCfg: [157, 'void', 'void* arena'],
  AddRunConfigEntry: [165, 'void*', 'void* options, const char* key, const char* value'],
  RunWithBinding: [133, 'void*', 'void* session, void* options, void* binding'],
  CreateIoBinding: [134, 'void*', 'void* session, _Out_ void** binding'],
  ReleaseIoBinding: [135, 'void', 'void* binding'],
  BindInput: [136, 'void*', 'void* binding, void* name, void* value'],
  BindOutput: [137, 'void*', 'void* binding, void* name, void* value'],
  BindOutputToDevice: [138, 'void*', 'void* binding, void* name, void* memory'],
  GetBoundOutputValues: [140, 'void*', 'void* binding, void* allocator, _Out_ void** values, _Out_ size_t* count'],
  SessionOptionsAppendExecutionProvider_CUDA_V2: [204, 'void*', 'void* options, void* cuda'],
  CreateCUDAProviderOptions: [205, 'void*', '_Out_ void** cuda'],
  UpdateCUDAProviderOptions: [206, 'void*', 'void* cuda, void* keys, void* values, size_t count'],
  ReleaseCUDAProviderOptions: [208, 'void', 'void* cuda'],
} as const satisfies Record<string, readonly [place: number, returned: string, parameters: string]>;

/** Name of a function of the table. */
export type OrtFunction = keyof typeof functions;

/** Functions that run long enough to be called on another thread. */
export type LongFunction = 'CreateSessionFromArray' | 'RunWithBinding';

/** The library, ready. */
export interface OrtApi {
  readonly koffi: typeof Koffi;
  /** As the library says, `1.30.0`. */
  readonly version: string;
  readonly file: string;
  /** @throws Error with the message of onnxruntime if the call fails. */
  call(name: OrtFunction, ...given: readonly unknown[]): void;
  /** The same on a thread of libuv's pool; what is given must stay where it is until then. */
  callAsync(name: LongFunction, ...given: readonly unknown[]): Promise<void>;
  /** Calls a function that writes an address, and returns that. */
  make(name: OrtFunction, ...given: readonly unknown[]): Pointer;
  /**
   * Has an arena for the memory of the host, which sessions share that ask for it: a thread that allocates for itself keeps
   * what a run has needed, and so does an arena of each session.
   */
  readonly environment: Pointer;
  /** For names and lists that the library returns. */
  readonly allocator: Pointer;
}

/** Error levels of onnxruntime's log. */
const fatal = 4;

/** Bytes of stack for calls on other threads: koffi's own 128 KiB do not suffice for the optimizer of large graphs. */
const asyncStack = 8 * 2 ** 20;

/** koffi closes a library when its handle is collected, whatever still calls into it. */
const held = new Set<unknown>();

/** Whether a library of this version has the table. Another major version may have another. */
export function hasTable(version: string): boolean {
  const [major, minor] = version.split('.').map(Number);
  return major === 1 && minor! >= apiVersion;
}

/** Opens a library of onnxruntime. @throws Error if it cannot be loaded, is another library, or is too old. */
export function openOrt(koffi: typeof Koffi, file: string): OrtApi {
  const { async_stack_size: stack = 0 } = koffi.config();
  // Refused once anybody has called a library through koffi.
  if (stack < asyncStack) koffi.config({ async_stack_size: asyncStack });
  const library = koffi.load(file);
  held.add(library);
  const [getTable, getVersion] = koffi.decode(library.func('void* OrtGetApiBase()')(), 'void*', 2) as bigint[];
  const bind = (address: unknown, returned: string, parameters: string) =>
    koffi.decode(address, koffi.proto(`${returned} (${parameters})`)) as ReturnType<typeof library.func>;
  const version = bind(getVersion, 'const char*', '')() as string;
  // Asked for too much, the library prints a complaint before it returns nothing.
  if (!hasTable(version)) throw new Error(`${file} is onnxruntime ${version}; needed is 1.${apiVersion} or newer`);
  const table = bind(getTable, 'void*', 'uint32_t version')(apiVersion) as Pointer;
  const places = Object.values(functions).map(([place]) => place);
  const addresses = koffi.decode(table, 'void*', Math.max(...places) + 1) as bigint[];
  const bound = Object.fromEntries(
    Object.entries(functions).map(([name, [place, returned, parameters]]) => [
      name,
      bind(addresses[place], returned, parameters),
    ]),
  ) as Record<OrtFunction, ReturnType<typeof library.func>>;

  const check = (status: Pointer | undefined): void => {
    if (!status) return;
    const message = bound.GetErrorMessage(status) as string;
    bound.ReleaseStatus(status);
    throw new Error(message);
  };
  const call: OrtApi['call'] = (name, ...given) => check(bound[name](...given) as Pointer | undefined);
  const make: OrtApi['make'] = (name, ...given) => {
    const out: Out<Pointer> = [null];
    call(name, ...given, out);
    return out[0];
  };
  const callAsync: OrtApi['callAsync'] = (name, ...given) =>
    new Promise<Pointer>((resolve, reject) => {
      bound[name].async(...given, (error: unknown, status: Pointer) =>
        error ? reject(error as Error) : resolve(status),
      );
    }).then(check);
  const environment = make('CreateEnv', fatal, 'dimo');
  const hostMemory = make('CreateMemoryInfo', 'Cpu', 1, 0, 0);
  // No limit, growth by what is asked for, the rest as onnxruntime has it.
  const arena = make('CreateArenaCfg', 0, 1, -1, -1);
  try {
    call('CreateAndRegisterAllocator', environment, hostMemory, arena);
  } catch {
    // Another thread of this process has done so.
  }
  call('ReleaseArenaCfg', arena);
  return {
    koffi,
    version,
    file,
    call,
    callAsync,
    make,
    environment,
    allocator: make('GetAllocatorWithDefaultOptions'),
  };
}
