/**
 * The parts of tfjs' WebGPU backend that kernels with several outputs need. `runWebGPUProgram`, its public way in, binds
 * one output; what lies beneath it takes any number of buffers. The package is pinned to one version.
 */
import { BackendUnavailableError } from '@dimo/core';
import type { DataType, TensorInfo, TypedArray } from '@tensorflow/tfjs-core';

/** A compiled WGSL program; opaque here. */
export type Pipeline = object;

/** What `recordAndSubmit` reads of a program. */
export interface RecordedProgram {
  readonly pipeline: Pipeline;
  readonly dispatch: readonly [number, number, number];
  readonly outputShape: readonly number[];
  /** tfjs names programs by their class when it measures times. */
  readonly constructor: { readonly name: string };
}

/** Program constants, laid out by tfjs in the order given. */
export type UniformValues = readonly { readonly type: 'int32' | 'float32'; readonly data: number[] }[];

/** tfjs' WebGPU backend, version 4.22. */
export interface WebgpuBackend {
  readonly device: {
    readonly limits: {
      readonly maxComputeWorkgroupsPerDimension: number;
      readonly maxStorageBuffersPerShaderStage: number;
    };
    readonly queue: { onSubmittedWorkDone(): Promise<unknown> };
    createShaderModule(descriptor: { readonly code: string; readonly label: string }): object;
    createComputePipeline(descriptor: object): Pipeline;
  };
  /** What lies in a tensor's buffer: tfjs casts integers to float32 by changing the tensor's type alone. */
  readonly tensorMap: { get(dataId: object): { readonly dtype: DataType } };
  makeTensorInfo(shape: readonly number[], dtype: DataType, values?: TypedArray): TensorInfo;
  /** Makes sure that the tensor has a buffer, and fills it if the values are on the host. */
  uploadToGPU(dataId: object): void;
  disposeData(dataId: object): boolean;
  /** What has been recorded and not yet submitted. */
  readonly commandEncoder: object | null;
  endComputePassEncoder(): void;
  submitQueue(): void;
  recordAndSubmit(program: RecordedProgram, output: TensorInfo, others: TensorInfo[], uniforms: UniformValues): void;
}

/**
 * The backend of a kernel call.
 *
 * @throws BackendUnavailableError if another version of tfjs lacks what is needed here.
 */
export function asWebgpuBackend(backend: object): WebgpuBackend {
  const candidate = backend as Partial<WebgpuBackend>;
  const missing = (['makeTensorInfo', 'uploadToGPU', 'disposeData', 'recordAndSubmit'] as const).filter(
    (method) => typeof candidate[method] !== 'function',
  );
  if (missing.length > 0 || !candidate.device)
    throw new BackendUnavailableError(
      `webgpu kernels: this @tensorflow/tfjs-backend-webgpu has no ${[...missing, ...(candidate.device ? [] : ['device'])].join(', ')}`,
      { hint: 'install the version that this package names: `npm install @tensorflow/tfjs-backend-webgpu@4.22.0`' },
    );
  return candidate as WebgpuBackend;
}
