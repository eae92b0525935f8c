import '@tensorflow/tfjs-backend-cpu';
import { eagerEngine, type RandomStream } from '@dimo/core';
import { teacherChecks } from '@dimo/core/conformance';
import { describe, it } from 'vitest';
import { defineTeacher } from './definition.js';

const definition = defineTeacher(
  {
    transformer: {
      heads: 2,
      headWidth: 8,
      jointBlocks: 1,
      singleBlocks: 1,
      textWidth: 6,
      textLength: 3,
      rotaryAxes: [0, 4, 4],
    },
    tokenizer: {
      kind: 'patch-vq',
      imageShape: [16, 16, 3],
      codebookSize: 8,
      codeWidth: 4,
      encoderWidth: 8,
      decoderWidth: 16,
    },
  },
  { words: ['red', 'blue', 'heart', 'cat'] },
);

describe('the teacher', () => {
  const engine = eagerEngine('cpu');
  const prompts = ['red heart', 'blue cat', 'cat'];
  const conditions = {
    ...definition.conditions,
    sample: (random: RandomStream, count: number) =>
      definition.conditions.parse(Array.from(random.integers(count, prompts.length), (i) => prompts[i]!)),
  };
  for (const { name, run } of teacherChecks({ ...definition, conditions })) it(name, () => run(engine));
});
