/** The `cpu` engine: tfjs' plain JavaScript kernels. Slow; the reference for all others. */
import { eagerEngine, type Engine } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { versionOf } from '../optional-package.js';
import { quietly } from '@dimo/kernels/eager';

/** Makes an engine on @tensorflow/tfjs-backend-cpu. */
export async function createCpuEngine(): Promise<Engine> {
  await quietly(() => import('@tensorflow/tfjs-backend-cpu'));
  // The backend would print an advertisement for another package at its first use in Node.
  const backend = tf.findBackend('cpu') as { firstUse?: boolean } | null;
  if (backend) backend.firstUse = false;
  return eagerEngine('cpu', {
    name: 'cpu',
    device: 'CPU, plain JavaScript, 1 thread',
    versions: { '@tensorflow/tfjs-backend-cpu': versionOf('@tensorflow/tfjs-backend-cpu') },
  });
}
