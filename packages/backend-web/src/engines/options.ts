/** What the engines for browsers can be told. */
import type { EngineOptions } from '@dimo/core';

/** Names of the engines of this package. */
export type WebEngineName = 'webgpu' | 'onnx-webgpu' | 'wasm';

/** Addresses of the two files of one build of onnxruntime-web. */
export interface OnnxruntimeFiles {
  /** `ort-wasm-simd-threaded.asyncify.wasm` for WebGPU, `ort-wasm-simd-threaded.wasm` for the CPU. */
  readonly wasm: string | URL;
  /** The `.mjs` file of the same name. Needed for more than one thread. @default the copy inside the package */
  readonly mjs?: string | URL;
}

/** Options of the engines for browsers. */
export interface WebEngineOptions extends EngineOptions {
  /**
   * Where the files of onnxruntime-web are served: the address of a folder with those of its `dist`, or the addresses that a
   * bundler gives. What is set for the first engine of a page or worker holds for the others.
   *
   * @default beside the script, where bundlers that know `new URL(..., import.meta.url)` put them
   */
  readonly onnxruntimeFiles?: string | { readonly webgpu?: OnnxruntimeFiles; readonly wasm?: OnnxruntimeFiles };
  /** Address of a folder with the files of `@tensorflow/tfjs-backend-wasm/wasm-out/`, ending with a slash. */
  readonly tfjsWasmFiles?: string;
  /** Bytes of the largest tensor that there will be: engines whose device cannot hold it are refused at once. */
  readonly largestTensorBytes?: number;
}
