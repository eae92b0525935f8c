/**
 * Self-distillation through time (SDTT, Deschenaux and Gulcehre, arXiv 2410.21035) as a plugin: a student learns to do in
 * one step of the ancestral sampler what its teacher does in two. After a round the student is the teacher, and the steps
 * are twice as long. Nothing of the packages knows of it: `dimo distill --algorithm sdtt --plugin <this package>`.
 */
import {
  defineAlgorithm,
  definePlugin,
  fields,
  float32,
  forwardPass,
  gradientThroughLogits,
  int32,
  maskTokens,
  modelState,
  OptionError,
  phaseProgram,
  resolveOptimizer,
  sampleStream,
  sampleTokens,
  scalar,
  sequenceLength,
  subtree,
  timeInputs,
  tokenDivergence,
  withPrefix,
  type AlgorithmRequest,
  type HostTree,
  type PhaseGradients,
  type SampleRows,
  type TensorTree,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { z } from 'zod';

const { finite, positive, whole } = fields;

const options = z.strictObject({
  teacherSteps: whole(2, 4096).default(16).describe('Steps of the teacher in the first round.'),
  steps: whole(1, 2048)
    .default(4)
    .describe('Steps of the student in the last round; teacherSteps halved once or more.'),
  learningRate: positive().default(1e-4).describe('Of Adam, constant.'),
  divergence: finite(0, 1).default(1).describe('1: KL(student || teacher), as the paper; 0: KL(teacher || student).'),
});

type Request = AlgorithmRequest<z.output<typeof options>>;

/** The algorithm. */
export const sdtt = defineAlgorithm({
  name: 'sdtt',
  description: 'fewer ancestral steps: two of the teacher in one of the student, round after round (arXiv 2410.21035)',
  options,
  prepare(request) {
    const { teacher, run } = request;
    const { teacherSteps, steps, learningRate } = request.options;
    const rounds = Math.log2(teacherSteps / steps);
    if (!Number.isInteger(rounds) || rounds < 1)
      throw new OptionError(`sdtt: ${teacherSteps} teacherSteps cannot be halved to ${steps} steps`);
    if (run.numSteps < rounds) throw new OptionError(`sdtt: ${rounds} rounds need as many training steps`);
    if (run.accumulation > 1 || request.shard || request.models.generator || request.models.auxiliary)
      throw new OptionError('sdtt: micro-steps, ranks and networks of other architectures are beyond this example');
    const { model } = teacher;
    return {
      generator: {
        model,
        weights: modelState(model, 'student'),
        sampling: { sampler: { name: 'ancestral', numSteps: steps } },
      },
      program: phaseProgram({
        ...run,
        name: 'sdtt',
        initialWeights: () => ({
          ...withPrefix('student', teacher.weights),
          ...withPrefix('teacher', teacher.weights),
          'teacherOf/round': scalar(0),
        }),
        phases: [
          {
            trains: { prefix: 'student', parameters: model.parameters },
            draw: (rows) => draws(request, rows, rounds),
            gradients: (state, inputs) => gradients(request, state, inputs),
            optimizer: resolveOptimizer({ kind: 'adam', clipNorm: 1 }),
            learningRate: () => learningRate,
          },
        ],
      }),
    };
  },
});

/** A time t of the grid, what is masked then, and what the teacher unmasks in the first of its two steps. */
async function draws(
  { teacher, run, options }: Request,
  { step, first, count }: SampleRows,
  rounds: number,
): Promise<HostTree> {
  const { model, conditions } = teacher;
  const length = sequenceLength(model.tokenSpace);
  const stream = sampleStream(run.seed, first, count, 'sdtt');
  const uniforms = (name: string, each = length) => stream.fork(name).uniform(count * each);
  const round = Math.floor((step * rounds) / run.numSteps);
  const studentSteps = options.teacherSteps / 2 ** (round + 1);
  const times = uniforms('time', 1).map((u) => (Math.floor(u * studentSteps) + 1) / studentSteps);
  const timeOf = (i: number) => times[Math.floor(i / length)]!;
  const isMasked = int32(
    [count, length],
    Int32Array.from(uniforms('mask'), (u, i) => Number(u < timeOf(i))),
  );
  // From t to t - 1 / (2 studentSteps), of the mass of a mask t.
  const isUnmasked = Int32Array.from(
    uniforms('unmask'),
    (u, i) => isMasked.data[i]! * Number(u * timeOf(i) * 2 * studentSteps < 1),
  );
  const condition = await conditions.sample(stream.fork('condition'), count);
  return {
    isMasked,
    isUnmasked: int32([count, length], isUnmasked),
    contextDraws: float32([count, length], uniforms('context')),
    teacherDraws: float32([count, length], uniforms('teacher')),
    allMasked: maskTokens(
      int32([count, length]),
      int32([count, length], new Int32Array(count * length).fill(1)),
      model.tokenSpace.maskTokenId,
    ),
    round: scalar(round),
    ...withPrefix('condition', condition),
    ...timeInputs(model, { maskRatio: float32([count], times) }),
  };
}

/** KL at the masked positions: to the teacher's first pass where its first step unmasks, to its second one elsewhere. */
function gradients({ teacher, run, options }: Request, state: TensorTree, inputs: TensorTree): PhaseGradients {
  const { model } = teacher;
  const { codebookSize, maskTokenId } = model.tokenSpace;
  const student = subtree('student', state);
  // A new round begins with the student as teacher; a step that is skipped leaves that to the next one.
  const isNew = tf.greater(inputs['round']!, state['teacherOf/round']!);
  const frozen = Object.fromEntries(
    Object.entries(subtree('teacher', state)).map(([name, old]) => [name, tf.where(isNew, student[name]!, old)]),
  );
  const pass = (weights: TensorTree, tokens: Tensor2D): Tensor3D =>
    forwardPass(model, weights, { tokens, condition: subtree('condition', inputs), time: subtree('time', inputs) });
  const draw = (logits: Tensor3D, name: string) => sampleTokens(logits, inputs[name]!, { codebookSize });
  const isMasked = inputs['isMasked'] as Tensor2D;
  const isUnmasked = inputs['isUnmasked'] as Tensor2D;
  const select = (where: tf.Tensor, a: tf.Tensor, b: tf.Tensor) =>
    tf.add(tf.mul(where, a), tf.mul(tf.sub(tf.scalar(1, where.dtype as 'int32'), where), b));
  // What is not masked is the student's own: no data are needed.
  const context = draw(pass(student, inputs['allMasked'] as Tensor2D), 'contextDraws');
  const tokens = select(isMasked, tf.scalar(maskTokenId, 'int32'), context) as Tensor2D;
  const firstPass = pass(frozen, tokens);
  const secondPass = pass(frozen, select(isUnmasked, draw(firstPass, 'teacherDraws'), tokens) as Tensor2D);
  const target = select(tf.expandDims(tf.cast(isUnmasked, 'float32'), 2), firstPass, secondPass) as Tensor3D;
  const weights = tf.div(
    tf.cast(isMasked, 'float32'),
    run.batchSize * run.accumulation * isMasked.shape[1]!,
  ) as Tensor2D;
  const temperatures = { teacherTemperature: 1, auxiliaryTemperature: 1 };
  return {
    ...gradientThroughLogits(
      student,
      (trained) => pass(trained, tokens),
      (logits) => {
        const found = tokenDivergence(
          { conditional: target, auxiliary: logits as Tensor3D, weights },
          { beta: options.divergence, ...temperatures },
        );
        return { gradient: found.gradient, outputs: { loss: tf.sum(found.value) } };
      },
    ),
    state: { ...withPrefix('teacher', frozen), 'teacherOf/round': tf.mul(inputs['round']!, 1) },
  };
}

export default definePlugin({
  contract: 2,
  name: 'dimo-example-self-distillation',
  algorithms: [sdtt],
});
