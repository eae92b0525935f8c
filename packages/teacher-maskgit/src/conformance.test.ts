import '@tensorflow/tfjs-backend-cpu';
import { eagerEngine } from '@dimo/core';
import { teacherChecks } from '@dimo/core/conformance';
import { describe, it } from 'vitest';
import { maskgitTeacher } from './index.js';

const transformer = { hidden: 16, depth: 1, heads: 2, mlp: 32, codebookSize: 8, numClasses: 3, grid: 3 };

describe('the MaskGIT teacher', () => {
  const engine = eagerEngine('cpu');
  for (const { name, run } of teacherChecks(maskgitTeacher.define({ tokenizer: null, transformer })))
    it(name, () => run(engine));
});
