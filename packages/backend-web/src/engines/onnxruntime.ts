/** Loading onnxruntime-web, once per build and thread. */
import { BackendUnavailableError } from '@dimo/core';
import { takeTurns, type SessionRuntime, type Turns } from '@dimo/onnx/sessions';
import type { env } from 'onnxruntime-web';
import { loadPackage, rethrow } from './load-package.js';
import type { WebEngineOptions } from './options.js';

/** A build of onnxruntime-web: `webgpu` computes on GPUs, `wasm` is half as large. */
export type OnnxruntimeBuild = 'webgpu' | 'wasm';

/** A loaded build. */
export interface Onnxruntime {
  readonly runtime: SessionRuntime;
  readonly version: string;
  readonly threads: number;
  /** One call at a time: WebAssembly that waits for a GPU cannot be entered a second time. */
  readonly turns: Turns;
}

const loaded = new Map<OnnxruntimeBuild, Promise<Onnxruntime>>();

/**
 * Loads a build. Its WebAssembly starts with the first session.
 *
 * @throws BackendUnavailableError if the package is not there.
 */
export function loadOnnxruntime(
  build: OnnxruntimeBuild,
  engine: string,
  options: WebEngineOptions,
): Promise<Onnxruntime> {
  const known = loaded.get(build);
  if (known) return known;
  const loading = load(build, engine, options);
  loaded.set(build, loading);
  loading.catch(() => loaded.delete(build));
  return loading;
}

async function load(build: OnnxruntimeBuild, engine: string, options: WebEngineOptions): Promise<Onnxruntime> {
  // Two literal imports, so that bundlers see both and a page downloads one.
  const ort = await loadPackage(engine, 'onnxruntime-web', () =>
    build === 'webgpu'
      ? import('onnxruntime-web/webgpu').catch(rethrow)
      : import('onnxruntime-web/wasm').catch(rethrow),
  );
  const { wasm } = ort.env;
  const paths = filesOf(build, options);
  if (paths !== undefined) wasm.wasmPaths = paths;
  const threads = build === 'wasm' ? threadsFor(options, paths) : 1;
  wasm.numThreads = threads;
  ort.env.logLevel = 'error';
  return {
    runtime: ort as unknown as SessionRuntime,
    version: ort.env.versions.web ?? ort.env.versions.common,
    threads,
    turns: takeTurns(),
  };
}

function filesOf(build: OnnxruntimeBuild, { onnxruntimeFiles }: WebEngineOptions): typeof env.wasm.wasmPaths {
  if (typeof onnxruntimeFiles !== 'string') {
    const files = onnxruntimeFiles?.[build];
    return files && { wasm: absolute(files.wasm), ...(files.mjs === undefined ? {} : { mjs: absolute(files.mjs) }) };
  }
  const folder = absolute(onnxruntimeFiles.endsWith('/') ? onnxruntimeFiles : `${onnxruntimeFiles}/`);
  const name = build === 'webgpu' ? 'ort-wasm-simd-threaded.asyncify' : 'ort-wasm-simd-threaded';
  return { wasm: `${folder}${name}.wasm`, mjs: `${folder}${name}.mjs` };
}

/** A module's relative address counts from the module; what the page says counts from the page. */
function absolute(address: string | URL): string {
  const here = (globalThis as { readonly location?: { readonly href: string } }).location?.href;
  return new URL(address, here?.startsWith('blob:') ? here.slice('blob:'.length) : here).href;
}

/** Threads of WebAssembly share memory, which only isolated pages may, and start from the `.mjs` file. */
function threadsFor({ threads }: WebEngineOptions, paths: typeof env.wasm.wasmPaths): number {
  const isIsolated = (globalThis as { readonly crossOriginIsolated?: boolean }).crossOriginIsolated === true;
  if (!isIsolated || typeof paths !== 'object' || paths.mjs === undefined) return 1;
  if (threads !== undefined) return threads;
  const processors = globalThis.navigator?.hardwareConcurrency ?? 1;
  // Of many, two share the multipliers of a core; small machines have one thread per core.
  return Math.min(8, processors <= 4 ? Math.max(1, processors) : Math.ceil(processors / 2));
}

/** What an engine throws when the first session, which starts WebAssembly, fails. */
export function startFailure(engine: string, cause: unknown): BackendUnavailableError {
  const reason = (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
  return new BackendUnavailableError(`${engine} engine: onnxruntime-web does not start: ${reason}`, {
    cause,
    hint: 'serve the .wasm and .mjs files of onnxruntime-web/dist, say where in `onnxruntimeFiles`, and load the page again',
  });
}
