/**
 * A student that is a table of all contexts, so that what the algorithm converges to is known: the minimum of the expected
 * KL(student || target) is the normalized geometric mean of the targets.
 */
import {
  builtInAlgorithms,
  createRegistry,
  describeGenerator,
  eagerEngine,
  findAlgorithm,
  float32,
  int32,
  OptionError,
  prepareDistillation,
  runTraining,
  type MaskedDiffusionModel,
  type Teacher,
} from '@dimo/core';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import plugin from './index.js';

beforeAll(() => tf.setBackend('cpu'));

/** Two tokens of two ids; a context is one of 9, the mask being id 2. The law: equal tokens are likelier. */
const law = [0.5, 0.1, 0.1, 0.3];
const contexts = 9;

const model: MaskedDiffusionModel = {
  name: 'table',
  tokenSpace: { codebookSize: 2, numLogits: 2, maskTokenId: 2, grid: [1, 2] },
  condition: { none: { dtype: 'int32', shape: [] } },
  embeddingWidth: 1,
  parameters: { table: { dtype: 'float32', shape: [contexts, 4] } },
  embeddingParameters: [],
  initialize: () => ({ table: float32([contexts, 4]) }),
  embed: (_, tokens) => tf.expandDims(tf.cast(tokens, 'float32'), 2),
  logits({ table }, { embeddings }) {
    const [batch] = embeddings.shape;
    const index = tf.sum(tf.mul(tf.reshape(embeddings, [batch, 2]), tf.tensor2d([[3, 1]])), 1);
    const chosen = tf.cast(tf.oneHot(tf.cast(index, 'int32'), contexts), 'float32') as tf.Tensor2D;
    return tf.reshape(tf.matMul(chosen, table as tf.Tensor2D), [batch, 2, 2]);
  },
};

/** Conditionals of both tokens in a context. */
function conditionals(a: number, b: number): number[] {
  const mass = (i: number, j: number) =>
    law.reduce((sum, p, x) => ([i, j].every((id, k) => id === 2 || id === [x >> 1, x & 1][k]) ? sum + p : sum), 0);
  const of = (first: number, second: number) => first / (first + second);
  const left = of(mass(0, b), mass(1, b));
  const right = of(mass(a, 0), mass(a, 1));
  return [left, 1 - left, right, 1 - right];
}
const teacherTable = Float32Array.from(
  Array.from({ length: contexts }, (_, c) => conditionals(Math.floor(c / 3), c % 3).map(Math.log)).flat(),
);
const teacher: Teacher = {
  contract: 2,
  name: 'table',
  model,
  nullCondition: { none: int32([], [0]) },
  conditions: {
    sample: (_, count) => ({ none: int32([count]) }),
    parse: (texts) => ({ none: int32([texts.length]) }),
  },
  config: {},
  weights: { table: float32([contexts, 4], teacherTable) },
};

const { algorithms } = createRegistry([plugin]);
const algorithm = findAlgorithm('sdtt', algorithms);

describe('self-distillation through time', () => {
  it('makes one step of two: the geometric mean of what the teacher says in either of them', async () => {
    const distillation = prepareDistillation({
      algorithm,
      teacher,
      options: { teacherSteps: 2, steps: 1, learningRate: 0.01 },
      run: { numSteps: 1500, batchSize: 256 },
    });
    // Of one round the teacher is replaced after the last step.
    const { state } = await runTraining(distillation.program, { engine: eagerEngine('cpu'), until: 1499 });
    expect([...state['teacher/table']!.data]).toEqual([...teacherTable]);
    // Fully masked, each token is unmasked in the first step with probability 1/2: then the target is its marginal, and
    // else, with 1/2 again, the conditional of the other token that the first step drew, or the marginal once more.
    const marginal = conditionals(2, 2).slice(0, 2);
    const other = conditionals(2, 2).slice(2);
    const logits = [0, 1].map(
      (id) =>
        0.75 * Math.log(marginal[id]!) +
        0.25 * [0, 1].reduce((sum, b) => sum + other[b]! * Math.log(conditionals(2, b)[id]!), 0),
    );
    const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    const table = state['student/table']!.data;
    const row = [...table.slice(8 * 4, 8 * 4 + 2)];
    const student = Math.exp(row[0]!) / (Math.exp(row[0]!) + Math.exp(row[1]!));
    expect(student).toBeCloseTo(Math.exp(logits[0]!) / total, 2);
    // It is sharper than the marginal, which shows that the second step counts.
    expect(Math.abs(student - marginal[0]!)).toBeGreaterThan(0.01);
  }, 120_000);

  it('hands the teacher over between rounds, and describes a generator of several steps', async () => {
    const distillation = prepareDistillation({
      algorithm,
      teacher,
      options: { teacherSteps: 8, steps: 2 },
      run: { numSteps: 4, batchSize: 8 },
    });
    const teachers: Float32Array[] = [];
    const students: Float32Array[] = [];
    await runTraining(distillation.program, {
      engine: eagerEngine('cpu'),
      async onStep({ snapshot }) {
        const { state } = await snapshot();
        teachers.push(state['teacher/table']!.data as Float32Array);
        students.push(state['student/table']!.data as Float32Array);
      },
    });
    expect(teachers[0]).toEqual(teacherTable);
    // The student as it was before the last update of the round.
    expect(teachers[1]).toEqual(students[0]);
    expect(teachers[2]).toEqual(students[0]);
    expect(describeGenerator(teacher, distillation)).toMatchObject({
      algorithm: 'sdtt',
      sampler: { name: 'ancestral', numSteps: 2 },
    });
  });

  it('refuses steps that are no halves, options of others, and a name that is taken', () => {
    const prepare = (options: object) =>
      prepareDistillation({ algorithm, teacher, options, run: { numSteps: 1, batchSize: 1 } });
    expect(() => prepare({ teacherSteps: 12, steps: 5 })).toThrow(/cannot be halved/);
    expect(() => prepare({ auxiliaryRounds: 2 })).toThrow(/unknown "auxiliaryRounds"/);
    expect(() => findAlgorithm('sdt', algorithms)).toThrow(OptionError);
    const taken = { ...plugin, algorithms: [...builtInAlgorithms.values()] };
    expect(() => createRegistry([taken])).toThrow(/one of core's/);
  });
});
