import type { DType } from '@dimo/core';
import type { HostFailure, HostOperation, HostOperations } from './protocol.js';

/** What is used of an onnxruntime, in Node or in browsers: its own types are those of the package onnxruntime-common. */
export interface SessionRuntime {
  readonly Tensor: new (
    type: DType | 'float16',
    data: Float32Array | Int32Array | Uint8Array | Uint16Array,
    dims: readonly number[],
  ) => RuntimeTensor;
  readonly InferenceSession: {
    create(model: Uint8Array, options: Readonly<Record<string, unknown>>): Promise<RuntimeSession>;
  };
}

/** A tensor of onnxruntime. */
export interface RuntimeTensor {
  readonly type: string;
  readonly dims: readonly number[];
  readonly location: string;
  /** Throws unless `location` is `cpu`. */
  readonly data: unknown;
  dispose(): void;
}

/** A session of onnxruntime. */
export interface RuntimeSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  readonly inputMetadata: readonly RuntimeMetadata[];
  readonly outputMetadata: readonly RuntimeMetadata[];
  run(
    feeds: Readonly<Record<string, RuntimeTensor>>,
    fetches?: Readonly<Record<string, RuntimeTensor>>,
  ): Promise<Record<string, RuntimeTensor>>;
  /** A tensor with anything in it, in the memory where outputs with the location `gpu-buffer` are left. */
  allocate?(type: DType, dims: readonly number[]): RuntimeTensor;
  release(): Promise<void>;
}

/** A port of a session. */
export interface RuntimeMetadata {
  readonly name: string;
  readonly isTensor: boolean;
  readonly type?: string;
  readonly shape?: ReadonlyArray<number | string>;
}

/** What a session host holds, and how. */
export interface SessionHostOptions {
  /**
   * Whether sessions write into tensors that were made before; onnxruntime-web does not. Where state resides on a device,
   * they must allocate. @default false
   */
  readonly inPlace?: boolean;
  /** Called when a run has succeeded, before its state replaces the old. If it throws, the state stays as it was. */
  readonly beforeCommit?: () => void;
}

/** Answers requests. They must come one after another. */
export type SessionHost = {
  [Op in HostOperation]: (
    request: HostOperations[Op]['request'],
  ) => Promise<HostOperations[Op]['response']> | HostOperations[Op]['response'];
};

/** Makes the half of an engine that holds sessions and state. */
export function createSessionHost(runtime: SessionRuntime, options?: SessionHostOptions): SessionHost;

/** What an error of a request means to its engine. */
export function failureOf(operation: HostOperation, error: unknown): HostFailure;

/** Buffers of host tensors in an answer, which belong to nobody else and may move to another thread. */
export function transferable(answer: unknown): ArrayBuffer[];
