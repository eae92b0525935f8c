/** Which of several matrix products is fastest on an adapter, found out by running them. */
import * as tf from '@tensorflow/tfjs-core';
import { matrixProduct } from './linear.js';
import { gpuTuning, type Tuning } from './rows.js';
import { asWebgpuBackend, type WebgpuBackend } from './webgpu-backend.js';

/** What is measured, besides. */
export interface MeasureTuningOptions {
  /** Rows of the activations; the other lengths are the width of common models. @default 2048 */
  readonly rows?: number;
  /** @default 768 */
  readonly width?: number;
  readonly rounds?: number;
}

const candidates = ['tiled', 'stock'] as const;
const measured = new WeakMap<object, Promise<Tuning>>();

/**
 * The tuning for the GPU behind tfjs' backend `webgpu`: the products of a linear map and of its gradient are timed with
 * each way of multiplying matrices, once per device. Takes a few dozen milliseconds and the compilation of six programs.
 *
 * @returns `gpuTuning` with the fastest product.
 */
export async function measureTuning(options: MeasureTuningOptions = {}): Promise<Tuning> {
  const previous = tf.engine().backendName;
  await tf.setBackend('webgpu');
  const backend = asWebgpuBackend(tf.backend());
  try {
    let result = measured.get(backend.device);
    if (!result) measured.set(backend.device, (result = measure(backend, options)));
    return await result;
  } finally {
    if (previous && previous !== 'webgpu') await tf.setBackend(previous);
  }
}

async function measure(backend: WebgpuBackend, options: MeasureTuningOptions): Promise<Tuning> {
  const { rows = 2048, width = 768, rounds = 3 } = options;
  const make = (shape: [number, number]) => {
    const info = backend.makeTensorInfo(shape, 'float32', new Float32Array(shape[0] * shape[1]).fill(0.5));
    backend.uploadToGPU(info.dataId);
    return info;
  };
  const [activations, gradient, weights] = [make([rows, width]), make([rows, width]), make([width, width])];
  const products = [
    { operands: { a: activations, b: weights }, transposed: { transposeA: false, transposeB: true } },
    { operands: { a: gradient, b: weights }, transposed: { transposeA: false, transposeB: false } },
    { operands: { a: gradient, b: activations }, transposed: { transposeA: true, transposeB: false } },
  ];
  let best: Tuning = gpuTuning;
  let least = Infinity;
  for (const candidate of candidates) {
    const tuning: Tuning = { ...gpuTuning, matrixProduct: candidate };
    for (let round = -1; round < rounds; round++) {
      const start = performance.now();
      const results = products.flatMap(({ operands, transposed }) =>
        matrixProduct(backend, tuning, operands, transposed),
      );
      await finish(backend);
      const taken = performance.now() - start;
      for (const { dataId } of results) backend.disposeData(dataId);
      // The first round compiles.
      if (round >= 0 && taken < least) [least, best] = [taken, tuning];
    }
  }
  for (const { dataId } of [activations, gradient, weights]) backend.disposeData(dataId);
  return best;
}

/** Waits until the device has done all that it was given. */
async function finish(backend: WebgpuBackend): Promise<void> {
  backend.endComputePassEncoder();
  if (backend.commandEncoder) backend.submitQueue();
  await backend.device.queue.onSubmittedWorkDone();
}
