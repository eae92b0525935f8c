/**
 * Training of a masked diffusion model on tokens (L_MDM): predict the masked tokens of a partly masked sequence. This
 * is how teachers are made; the auxiliary model of Di[M]O is trained by the same loss on the generator's samples.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { gatherRows, numRows } from '../tensors/batches.js';
import { checkConditions } from '../model/check-conditions.js';
import { checkHostTree } from '../engine/check-tensors.js';
import { checkTree } from '../tensors/check-tree.js';
import { dropConditions } from '../model/condition-drop.js';
import { OptionError, ShapeError } from '../errors.js';
import { forwardPass } from '../model/forward-pass.js';
import { conditionSpecs } from '../model/guidance.js';
import { gradientThroughLogits } from '../ops/logit-gradient.js';
import { maskTokens, scheduledMask } from '../model/masking.js';
import { type MaskedDiffusionModel, type TeacherDefinition } from '../model/model.js';
import { modelState, type ModelState } from '../model/model-state.js';
import { maskedCrossEntropy } from '../ops/masked-cross-entropy.js';
import {
  applyOptimizer,
  initialMoments,
  optimizerScalars,
  optimizerScalarSpecs,
  resolveOptimizer,
  type NonFinitePolicy,
  type OptimizerOptions,
} from './optimizer.js';
import type { TokenDataset } from './dataset.js';
import { randomStream } from '../random/random.js';
import {
  checkLearningRateSchedule,
  learningRateFactor,
  movingAverageDecay,
  maskRatioAt,
  type LearningRateSchedule,
  type MaskRatioSchedule,
} from '../model/schedule.js';
import {
  float32,
  scalar,
  subtree,
  withPrefix,
  type HostTree,
  type SpecTree,
  type TensorTree,
} from '../tensors/tensors.js';
import { timeInputs, timeSpecs } from '../model/time-conditioning.js';
import type { TrainingProgram } from './training.js';
import { finishStep } from './training-result.js';
import { sequenceLength } from '../model/token-space.js';

/** Sequences to train on: int32 [count, L] ids in [0, codebookSize), and conditions with the leading axis `count`. */
export type TrainingSequences = Pick<TokenDataset, 'tokens' | 'condition'>;

/** Settings of teacher training. The defaults are those of a small model that trains in minutes. */
export interface TeacherTrainingOptions {
  /** @default 2200 */
  readonly numSteps?: number;
  /** Sequences per step. @default 64 */
  readonly batchSize?: number;
  /** Seed of the weights, the order of the data and the masks. @default 0 */
  readonly seed?: number;
  /** @default 'arccos' */
  readonly maskSchedule?: MaskRatioSchedule;
  /** Label smoothing of the cross-entropy, [0, 1). @default 0.1 */
  readonly labelSmoothing?: number;
  /** Probability with which a sample's condition is replaced by "no condition", [0, 1]. @default 0.1 */
  readonly conditionDrop?: number;
  /** Dropout rate of the model, [0, 1); the uniforms are drawn on the host. @default 0 */
  readonly dropout?: number;
  /** @default AdamW, beta 0.9 and 0.96, weight decay 0.01, clipped to norm 1 */
  readonly optimizer?: OptimizerOptions;
  /** Peak learning rate. @default 2e-3 */
  readonly learningRate?: number;
  /** @default cosine after 100 steps of warm-up */
  readonly learningRateSchedule?: LearningRateSchedule;
  /** Decay of the moving average of the weights, with its ramp; the average is the result. @default 0.998 */
  readonly averageDecay?: number;
  /** @default 'throw' */
  readonly onNonFinite?: NonFinitePolicy;
}

/** `TeacherTrainingOptions` with defaults filled in. */
export type ResolvedTeacherTraining = Required<Omit<TeacherTrainingOptions, 'optimizer'>> & {
  readonly optimizer: ReturnType<typeof resolveOptimizer>;
};

/** Fills in defaults. @throws OptionError for a value out of its range. */
export function resolveTeacherTraining(
  options: TeacherTrainingOptions = {},
  where = 'teacherTraining',
): ResolvedTeacherTraining {
  const resolved: ResolvedTeacherTraining = {
    numSteps: options.numSteps ?? 2200,
    batchSize: options.batchSize ?? 64,
    seed: options.seed ?? 0,
    maskSchedule: options.maskSchedule ?? 'arccos',
    labelSmoothing: options.labelSmoothing ?? 0.1,
    conditionDrop: options.conditionDrop ?? 0.1,
    dropout: options.dropout ?? 0,
    optimizer: resolveOptimizer(
      options.optimizer ?? { kind: 'adamw', beta1: 0.9, beta2: 0.96, weightDecay: 0.01, clipNorm: 1 },
      `${where}.optimizer`,
    ),
    learningRate: options.learningRate ?? 2e-3,
    learningRateSchedule: options.learningRateSchedule ?? { kind: 'cosine', warmupSteps: 100 },
    averageDecay: options.averageDecay ?? 0.998,
    onNonFinite: options.onNonFinite ?? 'throw',
  };
  const require = (holds: boolean, name: keyof ResolvedTeacherTraining, expected: string) => {
    if (!holds) throw new OptionError(`${where}.${name} must be ${expected}, got ${String(resolved[name])}`);
  };
  require(Number.isInteger(resolved.numSteps) && resolved.numSteps >= 1, 'numSteps', 'a positive integer');
  require(Number.isInteger(resolved.batchSize) && resolved.batchSize >= 1, 'batchSize', 'a positive integer');
  require(Number.isSafeInteger(resolved.seed) && resolved.seed >= 0, 'seed', 'an integer >= 0');
  require(['throw', 'skip', 'reference'].includes(
    resolved.onNonFinite,
  ), 'onNonFinite', '"throw", "skip" or "reference"');
  maskRatioAt(resolved.maskSchedule, 0.5);
  require(resolved.labelSmoothing >= 0 && resolved.labelSmoothing < 1, 'labelSmoothing', 'in [0, 1)');
  require(resolved.conditionDrop >= 0 && resolved.conditionDrop <= 1, 'conditionDrop', 'in [0, 1]');
  require(resolved.dropout >= 0 && resolved.dropout < 1, 'dropout', 'in [0, 1)');
  require(resolved.learningRate > 0 && resolved.learningRate < Infinity, 'learningRate', 'a positive number');
  require(resolved.averageDecay >= 0 && resolved.averageDecay < 1, 'averageDecay', 'in [0, 1)');
  checkLearningRateSchedule(resolved.learningRateSchedule, `${where}.learningRateSchedule`);
  return resolved;
}

/** Where the averaged weights, the result of teacher training, are in its state. */
export function teacherTrainingResult(teacher: Pick<TeacherDefinition, 'model'>): ModelState {
  return modelState(teacher.model, 'ema');
}

/**
 * Program that trains a teacher. State: `teacher/<p>` the weights, `ema/<p>` their average, `optimizer/m/<p>`,
 * `optimizer/v/<p>`. Metrics: `loss` (with label smoothing), `maskedNll` (nats per masked token), `gradientNorm`,
 * `learningRate`.
 *
 * @param teacher - the model, and what "no condition" is.
 * @param data - tokens and conditions.
 * @param options - settings.
 * @param initialWeights - to continue from. @default freshly initialized
 * @throws OptionError for a wrong setting; ShapeError if the data do not fit the model.
 */
export function teacherTrainingProgram(
  teacher: Pick<TeacherDefinition, 'model' | 'nullCondition'>,
  data: TrainingSequences,
  options: TeacherTrainingOptions = {},
  initialWeights?: HostTree,
): TrainingProgram<HostTree> {
  const settings = resolveTeacherTraining(options);
  const { model } = teacher;
  const { batchSize, seed } = settings;
  checkData(teacher, data);
  const order = epochOrder(data.tokens.shape[0]!, batchSize, seed);
  const length = sequenceLength(model.tokenSpace);
  const row = { dtype: 'int32', shape: [batchSize, length] } as const;
  const inputs: SpecTree = {
    tokens: row,
    targets: row,
    lossWeights: { dtype: 'float32', shape: row.shape },
    ...timeSpecs(model, batchSize),
    ...conditionSpecs(model, batchSize),
    ...withPrefix('dropout', dropoutSpecs(model, settings)),
    ...withPrefix('optimizer', optimizerScalarSpecs),
    averageRate: { dtype: 'float32', shape: [] },
  };

  return {
    name: `${model.name}-teacher`,
    numSteps: settings.numSteps,
    batchSize,
    functions: { train: { fn: (state, values) => trainStep(teacher, settings, { state, inputs: values }), inputs } },
    initialState() {
      if (initialWeights) {
        checkHostTree('teacher training: initialWeights', initialWeights);
        checkTree('teacher training: initialWeights', model.parameters, initialWeights);
      }
      const weights = initialWeights ?? model.initialize(randomStream(seed, 0, 'teacher/weights'));
      return {
        ...withPrefix('teacher', weights),
        ...withPrefix('ema', weights),
        ...withPrefix('optimizer', initialMoments(model.parameters)),
      };
    },
    initialCounters: { updates: 0, skipped: 0 },
    draw: (step) => drawBatch(teacher, data, { settings, rows: order(step), step }),
    calls(step, counters, draws) {
      const { updates = 0 } = counters;
      const learningRate = rateAt(settings, step);
      return [
        {
          fn: 'train',
          inputs: {
            ...draws,
            ...withPrefix('optimizer', optimizerScalars(settings.optimizer, learningRate, updates)),
            averageRate: scalar(1 - movingAverageDecay(settings.averageDecay, updates)),
          },
        },
      ];
    },
    finish: (step, counters, outputs) =>
      finishStep({
        program: 'teacher training',
        step,
        counters,
        policy: settings.onNonFinite,
        updates: [{ counter: 'updates', outputs: outputs[0]! }],
        metrics: { learningRate: rateAt(settings, step) },
      }),
  };
}

function rateAt(settings: ResolvedTeacherTraining, step: number): number {
  return settings.learningRate * learningRateFactor(settings.learningRateSchedule, step, settings.numSteps);
}

/** One step of L_MDM: forward, cross-entropy at the masked positions, AdamW, average. */
function trainStep(
  teacher: Pick<TeacherDefinition, 'model'>,
  settings: ResolvedTeacherTraining,
  { state, inputs }: { state: TensorTree; inputs: TensorTree },
): { state: TensorTree; outputs: TensorTree } {
  const weights = subtree('teacher', state);
  const { gradients, outputs } = gradientThroughLogits(
    weights,
    (trained) =>
      forwardPass(teacher.model, trained, {
        tokens: inputs['tokens'] as Tensor2D,
        condition: subtree('condition', inputs),
        time: subtree('time', inputs),
        ...(settings.dropout > 0 ? { dropout: { rate: settings.dropout, uniforms: subtree('dropout', inputs) } } : {}),
      }),
    (logits) => {
      const { loss, negativeLogLikelihood, gradient } = maskedCrossEntropy(
        {
          logits: logits as Tensor3D,
          targets: inputs['targets'] as Tensor2D,
          weights: inputs['lossWeights'] as Tensor2D,
        },
        settings.labelSmoothing,
      );
      return { gradient, outputs: { loss: tf.sum(loss), maskedNll: tf.sum(negativeLogLikelihood) } };
    },
  );
  const update = applyOptimizer(
    {
      parameters: weights,
      gradients,
      moments: subtree('optimizer', state),
      scalars: subtree('optimizer', inputs),
      average: { weights: subtree('ema', state), rate: inputs['averageRate']! },
      loss: outputs['loss']!,
    },
    settings.optimizer,
    settings.onNonFinite,
  );
  return {
    state: {
      ...withPrefix('teacher', update.parameters),
      ...withPrefix('ema', update.average),
      ...withPrefix('optimizer', update.moments),
    },
    outputs: { ...outputs, gradientNorm: update.gradientNorm, applied: update.applied },
  };
}

/** Masks and condition drops of one step. */
function drawBatch(
  teacher: Pick<TeacherDefinition, 'model' | 'nullCondition'>,
  data: TrainingSequences,
  { settings, rows, step }: { settings: ResolvedTeacherTraining; rows: readonly number[]; step: number },
): HostTree {
  const { batchSize, seed } = settings;
  const { tokenSpace } = teacher.model;
  const length = sequenceLength(tokenSpace);
  const uniform = (name: string, shape: readonly number[]) =>
    float32(shape, randomStream(seed, step, `teacher/${name}`).uniform(shape.reduce((a, b) => a * b, 1)));
  const targets = gatherRows(data.tokens, rows);
  const { isMasked, maskRatio } = scheduledMask(
    settings.maskSchedule,
    uniform('mask-ratio', [batchSize]),
    uniform('mask', [batchSize, length]),
  );
  const count = isMasked.data.reduce((sum, masked) => sum + masked, 0);
  const condition = Object.fromEntries(
    Object.entries(data.condition).map(([name, tensor]) => [name, gatherRows(tensor, rows)]),
  );
  const isDropped = Array.from(uniform('drop', [batchSize]).data, (u) => u < settings.conditionDrop);
  return {
    tokens: maskTokens(targets, isMasked, tokenSpace.maskTokenId),
    targets,
    lossWeights: float32(
      [batchSize, length],
      Float32Array.from(isMasked.data, (masked) => masked / count),
    ),
    ...timeInputs(teacher.model, { maskRatio }),
    ...withPrefix('condition', dropConditions(condition, teacher.nullCondition, isDropped)),
    ...Object.fromEntries(
      Object.entries(withPrefix('dropout', dropoutSpecs(teacher.model, settings))).map(([name, { shape }]) => [
        name,
        uniform(name, shape),
      ]),
    ),
  };
}

/** Dropout uniforms by site; none where the rate is 0. */
function dropoutSpecs(model: MaskedDiffusionModel, settings: ResolvedTeacherTraining): SpecTree {
  if (settings.dropout === 0) return {};
  return Object.fromEntries(
    Object.entries(model.dropoutSites ?? {}).map(([site, { dtype, shape }]) => [
      site,
      { dtype, shape: [settings.batchSize, ...shape] },
    ]),
  );
}

/** Rows of each step: every epoch goes through the data in a new random order. */
function epochOrder(count: number, batchSize: number, seed: number): (step: number) => number[] {
  let known = { epoch: -1, order: new Int32Array() };
  const orderOf = (epoch: number) => {
    if (known.epoch !== epoch) known = { epoch, order: randomStream(seed, epoch, 'teacher/epoch').permutation(count) };
    return known.order;
  };
  return (step) =>
    Array.from({ length: batchSize }, (_, i) => {
      const position = step * batchSize + i;
      return orderOf(Math.floor(position / count))[position % count]!;
    });
}

function checkData(teacher: Pick<TeacherDefinition, 'model'>, { tokens, condition }: TrainingSequences): void {
  const { tokenSpace } = teacher.model;
  const length = sequenceLength(tokenSpace);
  checkHostTree('teacher training: data', { tokens });
  checkHostTree('teacher training: data', condition);
  const count = numRows({ tokens, ...condition });
  if (tokens.dtype !== 'int32' || tokens.shape.length !== 2 || tokens.shape[1] !== length || count < 1)
    throw new ShapeError(
      `teacher training: tokens must be int32 [count, ${length}] with count >= 1, got ${tokens.dtype} [${tokens.shape.join(', ')}]`,
    );
  checkConditions('teacher training: data', teacher.model, condition, count);
  const wrong = tokens.data.findIndex((token) => token < 0 || token >= tokenSpace.codebookSize);
  if (wrong >= 0)
    throw new OptionError(
      `teacher training: tokens must be in [0, ${tokenSpace.codebookSize}), got ${tokens.data[wrong]} in sequence ${Math.floor(wrong / length)}`,
    );
}
