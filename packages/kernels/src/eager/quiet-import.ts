/** tfjs prints warnings when a backend package is loaded beside another one, although nothing is wrong. */
import * as tf from '@tensorflow/tfjs-core';

/**
 * Runs `load` without those warnings ("kernel already registered", "platform has already been set") and leaves the
 * current backend as it was.
 */
export async function quietly<T>(load: () => T | Promise<T>): Promise<T> {
  const wasProduction = tf.env().getBool('PROD');
  const previous = tf.engine().backendName;
  tf.env().set('PROD', true);
  try {
    return await load();
  } finally {
    tf.env().set('PROD', wasProduction);
    if (previous && previous !== tf.engine().backendName) await tf.setBackend(previous);
  }
}
