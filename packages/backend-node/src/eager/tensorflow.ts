/** The `tensorflow` and `cuda` engines: tfjs on the native TensorFlow library, on the CPU or on an NVIDIA GPU. */
import { BackendUnavailableError, eagerEngine, type Engine } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { createRequire } from 'node:module';
import { requireInstalled, requireOptional } from '../optional-package.js';
import { quietly } from '@dimo/kernels/eager';

/** What the engines read of tfjs-node; its kernels register themselves. */
interface TensorFlowPackage {
  readonly version?: Readonly<Record<string, string>>;
}

/** The kernel backend of tfjs-node. */
interface TensorFlowBackend {
  /** True if TensorFlow lists a device of type GPU in its eager context. */
  readonly isUsingGpuDevice?: boolean;
  readonly binding?: { readonly TF_Version?: string };
}

/**
 * Makes an engine on @tensorflow/tfjs-node, or on the build that the environment variable `DIMO_TFJS_NODE` names
 * (a module path that `require` accepts).
 *
 * @throws BackendUnavailableError if the package is missing or its native library does not load.
 */
export async function createTensorFlowEngine(): Promise<Engine> {
  const name = process.env['DIMO_TFJS_NODE'] || '@tensorflow/tfjs-node';
  const { versions, backend } = await load(name, 'tensorflow', 'npm install @tensorflow/tfjs-node');
  return eagerEngine('tensorflow', {
    name: 'tensorflow',
    device: backend.isUsingGpuDevice ? 'GPU through TensorFlow' : 'CPU through TensorFlow',
    versions,
  });
}

/**
 * Makes an engine on @tensorflow/tfjs-node-gpu, or on the build that the environment variable `DIMO_TFJS_NODE_GPU` names.
 *
 * TensorFlow falls back to the CPU without a word when a CUDA library is missing. The list of devices of its own eager
 * context, which tfjs-node reports as `isUsingGpuDevice`, tells the truth.
 *
 * @throws BackendUnavailableError if the package is missing, does not load, or TensorFlow sees no GPU.
 */
export async function createCudaEngine(): Promise<Engine> {
  const name = process.env['DIMO_TFJS_NODE_GPU'] || '@tensorflow/tfjs-node-gpu';
  const { versions, backend } = await load(name, 'cuda', 'npm install @tensorflow/tfjs-node-gpu');
  if (!backend.isUsingGpuDevice)
    throw new BackendUnavailableError(
      `cuda engine: ${name} is installed, but TensorFlow ${backend.binding?.TF_Version ?? ''} lists no GPU device and would compute on the CPU`,
      {
        hint:
          'install CUDA 11.2, cuDNN 8.1 and an NVIDIA driver above 450, and put their libraries on LD_LIBRARY_PATH; ' +
          '`TF_CPP_MIN_LOG_LEVEL=0 dimo doctor` prints which library TensorFlow misses',
      },
    );
  return eagerEngine('tensorflow', { name: 'cuda', device: 'NVIDIA GPU through TensorFlow', versions });
}

let loaded: { name: string; versions: Record<string, string>; backend: TensorFlowBackend } | undefined;

/** Loads tfjs-node once per process: its two variants register the same backend name. */
async function load(name: string, engine: string, install: string): Promise<NonNullable<typeof loaded>> {
  if (loaded?.name === name) return loaded;
  const fix = `run \`${install}\` (it downloads libtensorflow), or name another build in ${
    engine === 'cuda' ? 'DIMO_TFJS_NODE_GPU' : 'DIMO_TFJS_NODE'
  }`;
  requireInstalled({ name, engine, fix });
  if (loaded)
    throw new BackendUnavailableError(
      `${engine} engine: ${loaded.name} is already loaded in this process, and ${name} would replace its kernels`,
      { hint: 'use only one of the engines `tensorflow` and `cuda` in a process' },
    );
  restoreNodeUtilities();
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2';
  const found = (await quietly(() => requireOptional({ name, engine, fix }))) as TensorFlowPackage;
  const backend = tf.findBackend('tensorflow') as unknown as TensorFlowBackend | null;
  if (!backend)
    throw new BackendUnavailableError(`${engine} engine: ${name} loaded but registered no TensorFlow backend`, {
      hint: fix,
    });
  loaded = {
    name,
    backend,
    versions: {
      'tfjs-node': found.version?.['tfjs-node'] ?? 'unknown',
      tensorflow: backend.binding?.TF_Version ?? 'unknown',
    },
  };
  return loaded;
}

/** tfjs-node 4.22 calls `util.isNullOrUndefined`, which Node 23 removed. */
function restoreNodeUtilities(): void {
  const util = createRequire(import.meta.url)('node:util') as Record<string, unknown>;
  util['isNullOrUndefined'] ??= (value: unknown) => value === null || value === undefined;
}
