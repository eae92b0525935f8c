/**
 * What an engine on onnxruntime asks of its session host, which owns all sessions and the state of every device tree; only
 * inputs, outputs and downloads cross. In Node the host is in a worker thread, and these are messages.
 */
import type { DimoErrorCode, DType, HostTensor, HostTree, SpecTree } from '@dimo/core';

/** A port of a compiled graph as onnxruntime reports it. */
export interface SessionPort {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A float32 tensor as float16 bit patterns; its elements are those times 2^-exponent. */
export interface HalfWire {
  readonly dtype: 'float32';
  readonly shape: readonly number[];
  readonly bits: Uint16Array;
  readonly exponent: number;
}

/** Tensors on their way. */
export type WireTree = Record<string, HostTensor | HalfWire>;

/**
 * How state is kept on another device than the CPU: as buffers of the provider, which sessions read and return. They
 * cannot be read or written from here, so values go in and out through copying sessions.
 */
export interface Residence {
  readonly copies: readonly CopyModel[];
  /** Session options of the copying sessions. */
  readonly sessionOptions: Readonly<Record<string, unknown>>;
}

/** A graph that returns its input `s:x` as `o:x`, for tensors of this type and rank, whatever their lengths. */
export interface CopyModel {
  readonly dtype: DType;
  readonly rank: number;
  readonly model: Uint8Array;
}

/** Requests by name, with what the host answers. */
export interface HostOperations {
  /** Keeps state on a provider's device from now on, once that is known to work. */
  reside: { request: { readonly residence: Residence }; response: undefined };
  upload: {
    request: {
      readonly tree: number;
      readonly tensors: WireTree;
      /** Tensors that hold nothing yet; see `UploadOptions.scratch` of core. */
      readonly scratch: SpecTree;
    };
    response: undefined;
  };
  assign: { request: { readonly tree: number; readonly tensors: HostTree }; response: undefined };
  download: { request: { readonly tree: number; readonly names: readonly string[] }; response: WireTree };
  /** Makes float32 tensors of tensors held as float16. `values` is the number of each bit pattern. */
  widen: {
    request: { readonly tree: number; readonly names: readonly string[]; readonly values: Float32Array };
    response: undefined;
  };
  releaseTree: { request: { readonly tree: number }; response: undefined };
  compile: {
    request: {
      readonly fn: number;
      readonly model: Uint8Array;
      /** `InferenceSession.SessionOptions` of onnxruntime. */
      readonly sessionOptions: Readonly<Record<string, unknown>>;
    };
    response: { readonly inputs: readonly SessionPort[]; readonly outputs: readonly SessionPort[] };
  };
  run: {
    request: {
      readonly fn: number;
      readonly tree: number;
      readonly inputs: HostTree;
      /** Name in the tree of each state tensor of the function. */
      readonly names: Readonly<Record<string, string>>;
      /** Names in the tree of the tensors that the function returns anew. */
      readonly written: readonly string[];
    };
    response: HostTree;
  };
  releaseFunction: { request: { readonly fn: number }; response: undefined };
  /** Releases everything. */
  close: { request: object; response: undefined };
}

/** Name of a request. */
export type HostOperation = keyof HostOperations;

/** An error on its way between threads. */
export interface HostFailure {
  readonly code: DimoErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
}

/** Names of state tensors and inputs of a graph carry these prefixes, and so do outputs and new state values. */
export const prefixes = { state: 's:', input: 'i:', output: 'o:', newState: 'n:' } as const;

/** Specifications of the ports with a prefix, by the name behind it. */
export function portSpecs(ports: readonly SessionPort[], prefix: string): SpecTree {
  return Object.fromEntries(
    ports
      .filter(({ name }) => name.startsWith(prefix))
      .map(({ name, dtype, shape }) => [name.slice(prefix.length), { dtype, shape }]),
  );
}
