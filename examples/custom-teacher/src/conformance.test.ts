import '@tensorflow/tfjs-backend-cpu';
import { eagerEngine } from '@dimo/core';
import { teacherChecks } from '@dimo/core/conformance';
import { describe, it } from 'vitest';
import { markovConvolution } from './index.js';

describe('the convolutional teacher', () => {
  const engine = eagerEngine('cpu');
  for (const { name, run } of teacherChecks(markovConvolution.define({ hidden: 8, depth: 1 })))
    it(name, () => run(engine));
});
