/** The `wasm` engine: tfjs' WebAssembly kernels. Needs nothing native; the fallback where onnxruntime is missing. */
import { quietly, registerWasmKernels } from '@dimo/kernels/eager';
import { eagerEngine, type Engine } from '@dimo/core';
import { folderOf, importOptional, versionOf } from '../optional-package.js';

const packageName = '@tensorflow/tfjs-backend-wasm';

/**
 * Makes an engine on @tensorflow/tfjs-backend-wasm, one thread (the package has no threads in Node).
 *
 * @throws BackendUnavailableError if the package is missing or WebAssembly cannot start.
 */
export async function createWasmEngine(): Promise<Engine> {
  const wasm = await importOptional(
    { name: packageName, engine: 'wasm', fix: `run \`npm install ${packageName}\`` },
    () => quietly(() => import('@tensorflow/tfjs-backend-wasm')),
  );
  try {
    // The package's own files, read from disk.
    wasm.setWasmPaths(`${folderOf(packageName)}wasm-out/`);
  } catch {
    // Initialized before, by another engine: the paths are settled.
  }
  registerWasmKernels();
  return eagerEngine('wasm', {
    name: 'wasm',
    device: 'CPU, WebAssembly, 1 thread',
    versions: { [packageName]: versionOf(packageName) },
  });
}
