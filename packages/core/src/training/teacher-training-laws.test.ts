/**
 * Teacher training against a second trainer in float64, over several epochs and skipped steps: gradients of the loss as
 * the paper writes it, then clipping, weight decay, Adam, learning rates, the moving average with its ramp and counters;
 * and what it draws against a second implementation of the random numbers.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  eagerEngine,
  float32,
  forwardPass,
  int32,
  learningRateFactor,
  maskRatioAt,
  randomStream,
  runTraining,
  subtree,
  teacherTrainingProgram,
  type HostTree,
  type PhaseInputs,
  type TeacherTrainingOptions,
  type TensorTree,
  type TrainingProgram,
} from '../index.js';
import type { TrainingSequences } from './teacher-training.js';
import type { LearningRateSchedule } from '../model/schedule.js';
import { linearModel, linearTeacher } from '../testing/linear-model.js';
import { expectNumbers, numbersOf } from '../testing/numbers.js';
import { normOf, referenceNetwork, referenceUpdate } from '../testing/reference-optimizer.js';
import { referenceMask, referenceStream } from '../testing/reference-random.js';

beforeAll(() => tf.setBackend('cpu'));

const weightsOf = (name: string) => linearModel.initialize(randomStream(1, 0, name));
const schedule: LearningRateSchedule = { kind: 'linear', warmupSteps: 2, finalFraction: 0.1 };

/** Inputs of the one phase. */
async function batchOf(program: TrainingProgram<PhaseInputs>, step: number): Promise<HostTree> {
  return (await program.draw(step))['train']![0]!;
}

describe('teacher training', () => {
  const count = 7;
  const data: TrainingSequences = {
    tokens: int32([count, 6], randomStream(2, 0, 'tokens').integers(count * 6, 6)),
    condition: { label: int32([count], [0, 1, 2, 0, 1, 2, 1]) },
  };
  const seed = 11;

  /** The rows of a step: one permutation per epoch, one after the other, cut into batches. */
  function rowsOf(step: number, batchSize: number): number[] {
    return Array.from({ length: batchSize }, (_, i) => {
      const position = step * batchSize + i;
      const order = referenceStream(seed, Math.floor(position / count), 'teacher/epoch').permutation(count);
      return order[position % count]!;
    });
  }

  it('draws batches, masks, dropped conditions and dropout from the streams of the samples, epoch after epoch', async () => {
    const batchSize = 4;
    const program = teacherTrainingProgram(linearTeacher, data, {
      batchSize,
      seed,
      maskSchedule: 'square',
      conditionDrop: 0.5,
      dropout: 0.2,
    });
    const orders = new Set<string>();
    for (const step of [0, 1, 2, 5]) {
      const draws = await batchOf(program, step);
      const rows = rowsOf(step, batchSize);
      orders.add(rows.join());
      // Sample b is number 4 step + b of the run.
      const uniform = (name: string, size: number) =>
        [0, 1, 2, 3].flatMap((b) =>
          referenceStream(seed, batchSize * step + b, `teacher/${name}`).uniform(size / batchSize),
        );
      const targets = rows.flatMap((row) => [...data.tokens.data.slice(row * 6, row * 6 + 6)]);
      expect([...draws['targets']!.data]).toEqual(targets);
      const ratios = uniform('mask-ratio', batchSize).map((r) => maskRatioAt('square', r));
      expect([...draws['time/ratio']!.data]).toEqual(ratios);
      const isMasked = ratios.flatMap((ratio, b) =>
        referenceMask(uniform('mask', batchSize * 6).slice(b * 6, b * 6 + 6), Math.max(1, Math.round(6 * ratio))),
      );
      expect([...draws['tokens']!.data]).toEqual(targets.map((token, i) => (isMasked[i] ? 11 : token)));
      // A mean over the masked positions of the whole batch.
      const share = Math.fround(1 / isMasked.filter(Boolean).length);
      expect([...draws['lossWeights']!.data]).toEqual(isMasked.map((masked) => (masked ? share : 0)));
      const drops = uniform('drop', batchSize);
      expect([...draws['condition/label']!.data]).toEqual(
        rows.map((row, b) => (drops[b]! < 0.5 ? 3 : data.condition['label']!.data[row]!)),
      );
      const dropout = draws['dropout/hidden']!;
      expect(dropout.shape).toEqual([batchSize, 6, 8]);
      expect([...dropout.data]).toEqual(uniform('dropout/hidden', batchSize * 48));
    }
    expect(orders.size).toBe(4);
    expect([...data.condition['label']!.data]).toEqual([0, 1, 2, 0, 1, 2, 1]);
  });

  it('gives every epoch an order of its own, and every sequence once', async () => {
    const program = teacherTrainingProgram(linearTeacher, { ...data, tokens: tagged() }, { batchSize: count, seed });
    const batches = await Promise.all([0, 1, 2].map((step) => batchOf(program, step)));
    const orders = batches.map(({ targets }) => [...targets!.data].join());
    expect(new Set(orders).size).toBe(3);
    // An epoch ends inside of a batch: 14 batches of 3 are 6 epochs of 7.
    const small = teacherTrainingProgram(linearTeacher, { ...data, tokens: tagged() }, { batchSize: 3, seed });
    const all = await Promise.all(Array.from({ length: 14 }, (_, step) => batchOf(small, step)));
    const seen = all.flatMap(tagsOf);
    for (let epoch = 0; epoch < 6; epoch++)
      expect([...seen.slice(epoch * count, (epoch + 1) * count)].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  /** Sequences that begin with their own index, in base 6. */
  function tagged() {
    const tokens = int32([count, 6]);
    for (let row = 0; row < count; row++) {
      tokens.data[row * 6] = Math.floor(row / 6);
      tokens.data[row * 6 + 1] = row % 6;
    }
    return tokens;
  }

  function tagsOf(draws: HostTree): number[] {
    const { data: targets, shape } = draws['targets']!;
    return Array.from({ length: shape[0]! }, (_, b) => targets[b * 6]! * 6 + targets[b * 6 + 1]!);
  }

  it.each<[string, TeacherTrainingOptions, number[]]>([
    ['AdamW, clipped', { optimizer: { kind: 'adamw', beta2: 0.9, weightDecay: 0.4, clipNorm: 0.1 } }, []],
    [
      'skipped steps, coupled decay, smoothing and dropped conditions',
      {
        optimizer: { kind: 'adam', beta1: 0.7, beta2: 0.999, weightDecay: 0.2, clipNorm: 0.3 },
        onNonFinite: 'skip',
        labelSmoothing: 0.3,
        conditionDrop: 0.4,
      },
      [0, 3, 4],
    ],
    ['without smoothing and with the defaults of the optimizer', { labelSmoothing: 0 }, []],
  ])('is what a second trainer makes of the loss: %s', async (_, options, broken) => {
    const numSteps = 10;
    const given = {
      labelSmoothing: 0.1,
      ...options,
      optimizer: {
        ...({ kind: 'adamw', beta1: 0.9, beta2: 0.96, epsilon: 1e-8, weightDecay: 0.01, clipNorm: 1 } as const),
        ...options.optimizer,
      },
    };
    const program = teacherTrainingProgram(
      linearTeacher,
      data,
      {
        numSteps,
        batchSize: 4,
        seed,
        learningRate: 0.03,
        learningRateSchedule: schedule,
        averageDecay: 0.35,
        ...options,
      },
      weightsOf('teacher'),
    );
    const watched: TrainingProgram<PhaseInputs> = {
      ...program,
      async draw(step) {
        const draws = await batchOf(program, step);
        const lossWeights = float32([4, 6], new Float32Array(24).fill(NaN));
        return { train: [broken.includes(step) ? { ...draws, lossWeights } : draws] };
      },
    };
    const network = referenceNetwork(numbersOf(program.initialState(), 'teacher'));
    let before = program.initialState();
    let skipped = 0;
    await runTraining(watched, {
      engine: eagerEngine('cpu'),
      async onStep({ step: done, metrics, counters, snapshot }) {
        const step = done - 1;
        const learningRate = 0.03 * learningRateFactor(schedule, step, numSteps);
        expect(metrics['learningRate']).toBeCloseTo(learningRate, 12);
        const { state } = await snapshot();
        if (broken.includes(step)) {
          skipped++;
          expect(state).toEqual(before);
        } else {
          const { gradients, loss, maskedNll } = lossOf(before, await batchOf(program, step), given.labelSmoothing!);
          expect(metrics['loss']).toBeCloseTo(loss, 5);
          expect(metrics['maskedNll']).toBeCloseTo(maskedNll, 5);
          expect(metrics['gradientNorm']).toBeCloseTo(normOf(gradients), 5);
          referenceUpdate(network, given.optimizer, { gradients, learningRate, averageDecay: 0.35 });
        }
        expect(counters).toEqual({ updates: network.updates, skipped });
        expectNumbers(state, 'teacher', network.parameters);
        expectNumbers(state, 'ema', network.average);
        expectNumbers(state, 'optimizer/m', network.firstMoments);
        expectNumbers(state, 'optimizer/v', network.secondMoments);
        before = state;
      },
    });
    expect(network.updates).toBe(numSteps - broken.length);
  });

  /** Cross-entropy with label smoothing by autodiff of its definition. */
  function lossOf(state: HostTree, draws: HostTree, smoothing: number) {
    return tf.tidy(() => {
      const tensors = (tree: HostTree): TensorTree =>
        Object.fromEntries(
          Object.entries(tree).map(([name, { data: values, shape, dtype }]) => [
            name,
            tf.tensor(values.slice(), [...shape], dtype),
          ]),
        );
      const weights = tensors(subtree('teacher', state));
      const inputs = tensors(draws);
      const names = Object.keys(weights);
      const targets = tf.cast(tf.oneHot(inputs['targets'] as Tensor2D, 8), 'float32');
      const logProbabilitiesOf = (values: TensorTree) =>
        tf.logSoftmax(
          forwardPass(linearModel, values, {
            tokens: inputs['tokens'] as Tensor2D,
            condition: { label: inputs['condition/label']! },
            time: subtree('time', inputs),
          }) as Tensor3D,
        );
      const weighted = (logProbabilities: tf.Tensor, target: tf.Tensor) =>
        tf.neg(tf.sum(tf.mul(tf.sum(tf.mul(logProbabilities, target), 2), inputs['lossWeights']!)));
      const smoothed = tf.add(tf.mul(targets, 1 - smoothing), smoothing / 8);
      const { value, grads } = tf.valueAndGrads((...values: tf.Tensor[]) =>
        weighted(logProbabilitiesOf(Object.fromEntries(names.map((name, i) => [name, values[i]!]))), smoothed),
      )(names.map((name) => weights[name]!));
      return {
        loss: value.dataSync()[0]!,
        maskedNll: weighted(logProbabilitiesOf(weights), targets).dataSync()[0]!,
        gradients: Object.fromEntries(names.map((name, i) => [name, Array.from(grads[i]!.dataSync())])),
      };
    });
  }

  it('resumes bit for bit from every step, a skipped one and a second epoch included', async () => {
    const engine = eagerEngine('cpu');
    const program = teacherTrainingProgram(linearTeacher, data, {
      numSteps: 6,
      batchSize: 3,
      seed,
      onNonFinite: 'skip',
      dropout: 0.2,
      learningRateSchedule: schedule,
    });
    const broken: TrainingProgram<PhaseInputs> = {
      ...program,
      async draw(step) {
        const draws = await batchOf(program, step);
        const lossWeights = float32([3, 6], new Float32Array(18).fill(NaN));
        return { train: [step === 2 ? { ...draws, lossWeights } : draws] };
      },
    };
    const whole = await runTraining(broken, { engine });
    expect(whole.counters).toEqual({ updates: 5, skipped: 1 });
    for (const until of [1, 2, 3, 5]) {
      const resumed = await runTraining(broken, { engine, from: await runTraining(broken, { engine, until }) });
      expect(resumed).toEqual(whole);
    }
  });

  it('stops after so many skipped steps in a row, not in all', async () => {
    const engine = eagerEngine('cpu');
    const run = (isBroken: (step: number) => boolean) => {
      const program = teacherTrainingProgram(linearTeacher, data, { numSteps: 9, batchSize: 2, onNonFinite: 'skip' });
      const draw = async (step: number) => {
        const draws = await batchOf(program, step);
        const lossWeights = float32([2, 6], new Float32Array(12).fill(NaN));
        return { train: [isBroken(step) ? { ...draws, lossWeights } : draws] };
      };
      return runTraining({ ...program, draw }, { engine, maxSkippedInARow: 3 });
    };
    const result = await run((step) => step % 3 !== 0);
    expect(result.counters).toEqual({ updates: 3, skipped: 6 });
    await expect(run((step) => step >= 2)).rejects.toThrow('3 steps in a row, the last of them step 5,');
  });
});
