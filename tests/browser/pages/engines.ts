/** What the tests of the engines run in a page or in a worker: functions that take and return plain values. */
import {
  browserFileCache,
  chooseWebEngine,
  createWebEngine,
  httpModelFolder,
  webEngines,
  type WebEngineName,
} from '@dimo/backend-web';
import {
  DimoError,
  float32,
  specsOf,
  writeSafetensors,
  type Engine,
  type HostTree,
  type PureFunction,
} from '@dimo/core';
import { engineChecks } from '@dimo/core/conformance';
import * as tf from '@tensorflow/tfjs-core';
import { fullStepDistillation, runFullStep, type FullStepOptions } from '../../engines/full-step.js';

/** Where the server of the tests has the packages' files. */
const files = { onnxruntimeFiles: '/ort/', tfjsWasmFiles: '/tfjs-wasm/' };

/** An error as a plain object. */
export interface Failure {
  readonly name: string;
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
}

/** The error of a call; undefined if it succeeds. */
async function failureOf(call: () => Promise<unknown>): Promise<Failure | undefined> {
  try {
    await call();
    return undefined;
  } catch (error) {
    const { name, message } = error as Error;
    const { code, hint } = DimoError.isInstance(error) ? error : { code: undefined, hint: undefined };
    return { name, code, message, hint };
  }
}

/** Base64 of safetensors. */
function encode(tree: HostTree): string {
  const bytes = writeSafetensors(tree, {});
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

/** Training steps of a small MaskGIT: outputs of the last one, and the state behind it. */
export async function distil(name: WebEngineName, sizes: FullStepOptions) {
  const engine = await createWebEngine(name, files);
  try {
    const start = performance.now();
    const { generator, auxiliary, state } = await runFullStep(engine, fullStepDistillation(sizes));
    const milliseconds = performance.now() - start;
    const encoded = { generator: encode(generator), auxiliary: encode(auxiliary), state: encode(state) };
    return { info: engine.info, milliseconds, isPage: typeof document !== 'undefined', ...encoded };
  } finally {
    await engine.dispose();
  }
}

/** Names of the conformance checks that fail on an engine, with the reason. */
export async function conformance(name: WebEngineName, isDeterministic: boolean, only = ''): Promise<string[]> {
  const engine = await createWebEngine(name, files);
  const failures: string[] = [];
  let count = 0;
  try {
    for (const check of engineChecks({ isDeterministic, create: () => createWebEngine(name, files) })) {
      if (check.skip || !check.name.includes(only)) continue;
      count++;
      await check.run(engine).catch((error: Error) => failures.push(`${check.name}: ${error.message}`));
    }
  } finally {
    await engine.dispose();
  }
  return count > 0 ? failures : ['no check was run'];
}

const double: PureFunction = ({ x }) => ({ state: { x: tf.mul(x!, 2) }, outputs: { x: tf.add(x!, 0) } });

async function doubling(engine: Engine, values: HostTree) {
  const state = await engine.upload(values);
  const compiled = await engine.compile(double, { state: specsOf(values), inputs: {} });
  return { state, run: () => compiled.run(state, {}) };
}

/** Every device that this thread has been given, the latest last. */
const devices: GPUDevice[] = [];
if (typeof GPUAdapter !== 'undefined') {
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (descriptor) {
    const device = await request.call(this, descriptor);
    devices.push(device);
    return device;
  };
}

/** Enough elements for tfjs to compute on the GPU. */
const counting = (): HostTree => ({
  x: float32(
    [2048],
    Float32Array.from({ length: 2048 }, (_, i) => i),
  ),
});

/** The second element of each: 1 at first, doubled by every run. */
const second = (tree: HostTree): number => Number(tree['x']!.data[1]);

/** Destroys the device under an engine in the middle of a run; then makes another engine. */
export async function loseDevice(name: WebEngineName) {
  const engine = await createWebEngine(name, files);
  const { state, run } = await doubling(engine, counting());
  await run();
  const before = await state.download();
  const pending = failureOf(run);
  devices.at(-1)!.destroy();
  const failures = [await pending];
  await devices.at(-1)!.lost;
  for (const call of [run, () => state.download(), () => engine.upload(counting())])
    failures.push(await failureOf(call));
  await engine.dispose();
  const another = await createWebEngine(name, files);
  const restored = await doubling(another, before);
  await restored.run();
  const after = second(await restored.state.download());
  await another.dispose();
  return { failures, after };
}

/** An out-of-memory report of the device during a run, and runs after it. */
export async function runOutOfMemory(name: WebEngineName) {
  const engine = await createWebEngine(name, files);
  const { state, run } = await doubling(engine, counting());
  await run();
  const device = devices.at(-1)!;
  const failure = await failureOf(async () => {
    const running = run();
    // What the browser reports when a buffer does not fit: an error event of the device.
    const error = new GPUOutOfMemoryError('Out of memory: 3 GB');
    device.dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error }));
    await running;
  });
  const unchanged = second(await state.download());
  await run();
  const after = second(await state.download());
  await engine.dispose();
  return { failure, unchanged, after };
}

/** Engines where there is no WebGPU, no adapter, small limits, or a package's files are missing. */
export async function unavailable() {
  const large = { ...files, largestTensorBytes: 2 ** 40 };
  const limits = await failureOf(() => createWebEngine('onnx-webgpu', large));
  const specs = { state: { x: { dtype: 'float32' as const, shape: [2 ** 30] } }, inputs: {} };
  const engine = await createWebEngine('webgpu', files);
  const compile = await failureOf(() => engine.compile(double, specs));
  await engine.dispose();
  const gpu = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(navigator), 'gpu')!;
  const withGpu = async (value: unknown) => {
    Object.defineProperty(navigator, 'gpu', { value, configurable: true });
    const failure = await failureOf(() => createWebEngine('onnx-webgpu', files));
    Object.defineProperty(navigator, 'gpu', { ...gpu });
    return failure;
  };
  return {
    limits,
    compile,
    noGpu: await withGpu(undefined),
    noAdapter: await withGpu({ requestAdapter: () => Promise.resolve(null) }),
    unknown: await failureOf(() => createWebEngine('cuda' as WebEngineName)),
  };
}

/** An engine whose files are not served. */
export const withoutFiles = (name: WebEngineName) =>
  failureOf(() => createWebEngine(name, { onnxruntimeFiles: '/absent/', tfjsWasmFiles: '/absent/' }));

/** tfjs' WebAssembly, because onnxruntime's is not served. */
export async function lastResort() {
  const engine = await createWebEngine('wasm', { ...files, onnxruntimeFiles: '/absent/' });
  const { run } = await doubling(engine, { x: float32([2], [1, 2]) });
  const { x } = await run();
  return { device: engine.info.device, x: [...x!.data].map(Number) };
}

/** `auto` among some engines, twice. */
export async function choose(names: readonly WebEngineName[], measuresSoftware: boolean) {
  const results = [];
  for (let i = 0; i < 2; i++) {
    const events: string[] = [];
    const { engine, explanation, measurements, isRemembered } = await chooseWebEngine({
      ...files,
      measuresSoftware,
      engines: webEngines.filter(({ name }) => names.includes(name)),
      onProgress: ({ engine: tried, stage }) => events.push(`${stage} ${tried}`),
    });
    results.push({ name: engine.info.name, explanation, measurements, isRemembered, events });
    await engine.dispose();
  }
  return results;
}

/** A model folder through the browser's cache. */
export async function readFolder(url: string, name: string) {
  const seen: boolean[] = [];
  const folder = httpModelFolder(url, { pauseMilliseconds: 1, onProgress: ({ fromCache }) => seen.push(fromCache) });
  let length = -1;
  const failure = await failureOf(async () => {
    length = (await folder.read(name)).length;
  });
  return { length, failure, fromCache: seen.at(-1), hasCache: browserFileCache() !== undefined };
}
