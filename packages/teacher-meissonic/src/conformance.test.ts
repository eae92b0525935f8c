import '@tensorflow/tfjs-backend-cpu';
import { eagerEngine, float32, sizeOf, type RandomStream, type TeacherDefinition } from '@dimo/core';
import { teacherChecks } from '@dimo/core/conformance';
import { describe, it } from 'vitest';
import { multimodalTransformer } from './index.js';
import { smallTransformer } from './test-support/small-transformer.js';

describe.each([
  ['with down-sampling', { grid: 4 }],
  ['on an odd grid, told the mask ratio', { grid: [2, 3], downsample: false, timestepMode: 'ratio' }],
] as const)('the transformer %s', (_, options) => {
  const model = multimodalTransformer({ ...smallTransformer, ...options });
  const draw = (random: RandomStream, leading: readonly number[]) =>
    Object.fromEntries(
      Object.entries(model.condition).map(([name, { shape }]) => {
        const full = [...leading, ...shape];
        return [name, float32(full, random.fork(name).normal(sizeOf(full)))];
      }),
    );
  const definition: TeacherDefinition = {
    contract: 2,
    name: 'meissonic',
    model,
    nullCondition: Object.fromEntries(
      Object.entries(model.condition).map(([name, { shape }]) => [name, float32(shape)]),
    ),
    conditions: {
      sample: (random, count) => draw(random, [count]),
      parse: () => Promise.reject(new Error('no prompts here')),
    },
    config: {},
  };
  const engine = eagerEngine('cpu');
  for (const { name, run } of teacherChecks(definition)) it(name, () => run(engine));
});
