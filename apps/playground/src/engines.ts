/** The engines of the page, and where the build has put their files. */
import { chooseWebEngine, createWebEngine, webEngines, type WebEngineName } from '@dimo/backend-web';
import type { ChosenEngine } from '@dimo/core';
import webgpuModule from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url';
import webgpuWasm from 'onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url';
import cpuModule from 'onnxruntime-web/ort-wasm-simd-threaded.mjs?url';
import cpuWasm from 'onnxruntime-web/ort-wasm-simd-threaded.wasm?url';

const files = {
  onnxruntimeFiles: {
    webgpu: { wasm: webgpuWasm, mjs: webgpuModule },
    wasm: { wasm: cpuWasm, mjs: cpuModule },
  },
};

/** To measure it, a visitor would download 27 MB; who wants it chooses it. */
const tooLargeToTry = 'onnx-webgpu';

/** Opens an engine by name, or the fastest of those that are small enough to try. */
export async function openEngine(name: string): Promise<Pick<ChosenEngine, 'engine' | 'explanation'>> {
  if (name === 'auto')
    return chooseWebEngine({ ...files, engines: webEngines.filter((engine) => engine.name !== tooLargeToTry) });
  const engine = await createWebEngine(name as WebEngineName, files);
  return { engine, explanation: `${engine.info.name} on ${engine.info.device}, as chosen` };
}
