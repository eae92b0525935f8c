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
import { gradientThroughLogits } from '../ops/logit-gradient.js';
import { countMasked, maskTokens, scheduledMask } from '../model/masking.js';
import { type MaskedDiffusionModel, type TeacherDefinition } from '../model/model.js';
import { modelState, type ModelState } from '../model/model-state.js';
import { maskedCrossEntropy } from '../ops/masked-cross-entropy.js';
import type { TokenDataset } from './dataset.js';
import { epochRows } from './epoch-rows.js';
import type { PhaseGradients, SampleRows } from './phase.js';
import { phaseProgram, type PhaseInputs } from './phase-program.js';
import { randomStream } from '../random/random.js';
import { sampleStream } from '../random/sample-stream.js';
import { learningRateFactor, movingAverageDecay } from '../model/schedule.js';
import { float32, sizeOf, subtree, withPrefix, type HostTree, type TensorTree } from '../tensors/tensors.js';
import { timeInputs } from '../model/time-conditioning.js';
import {
  resolveTeacherTraining,
  type ResolvedTeacherTraining,
  type TeacherTrainingOptions,
} from './teacher-training-options.js';
import type { TrainingProgram } from './training.js';
import { sequenceLength } from '../model/token-space.js';

/** Sequences to train on: int32 [count, L] ids in [0, codebookSize), and conditions with the leading axis `count`. */
export type TrainingSequences = Pick<TokenDataset, 'tokens' | 'condition'>;

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
): TrainingProgram<PhaseInputs> {
  const settings = resolveTeacherTraining(options);
  const { model } = teacher;
  const { seed } = settings;
  checkData(teacher, data);
  const order = epochRows(data.tokens.shape[0]!, seed, 'teacher/epoch');
  return phaseProgram({
    name: `${model.name}-teacher`,
    numSteps: settings.numSteps,
    batchSize: settings.batchSize,
    onNonFinite: settings.onNonFinite,
    initialWeights() {
      if (initialWeights) {
        checkHostTree('teacher training: initialWeights', initialWeights);
        checkTree('teacher training: initialWeights', model.parameters, initialWeights);
      }
      return withPrefix('teacher', initialWeights ?? model.initialize(randomStream(seed, 0, 'teacher/weights')));
    },
    phases: [
      {
        trains: { prefix: 'teacher', parameters: model.parameters },
        draw: (rows) => drawBatch(teacher, data, { settings, order, rows }),
        gradients: (state, inputs) => teacherGradients(model, settings, subtree('teacher', state), inputs),
        optimizer: settings.optimizer,
        learningRate: (step) =>
          settings.learningRate * learningRateFactor(settings.learningRateSchedule, step, settings.numSteps),
        average: { prefix: 'ema', decay: (updates) => movingAverageDecay(settings.averageDecay, updates) },
      },
    ],
  });
}

/** L_MDM: forward, and cross-entropy at the masked positions. */
function teacherGradients(
  model: MaskedDiffusionModel,
  settings: ResolvedTeacherTraining,
  weights: TensorTree,
  inputs: TensorTree,
): PhaseGradients {
  return gradientThroughLogits(
    weights,
    (trained) =>
      forwardPass(model, trained, {
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
}

/** Sequences, masks and condition drops of samples. */
function drawBatch(
  teacher: Pick<TeacherDefinition, 'model' | 'nullCondition'>,
  data: TrainingSequences,
  {
    settings,
    order,
    rows,
  }: { settings: ResolvedTeacherTraining; order: ReturnType<typeof epochRows>; rows: SampleRows },
): HostTree {
  const { seed } = settings;
  const { first, count } = rows;
  const { tokenSpace, dropoutSites = {} } = teacher.model;
  const length = sequenceLength(tokenSpace);
  const uniform = (name: string, shape: readonly number[]) =>
    float32(shape, sampleStream(seed, first, count, `teacher/${name}`).uniform(sizeOf(shape)));
  const sequences = [...order(first, count)];
  const targets = gatherRows(data.tokens, sequences);
  const { isMasked, maskRatio } = scheduledMask(
    settings.maskSchedule,
    uniform('mask-ratio', [count]),
    uniform('mask', [count, length]),
  );
  const ratioUniforms = sampleStream(seed, rows.firstOfStep, rows.batchSize, 'teacher/mask-ratio').uniform(
    rows.batchSize,
  );
  const maskedCount = countMasked(settings.maskSchedule, ratioUniforms, length);
  const condition = Object.fromEntries(
    Object.entries(data.condition).map(([name, tensor]) => [name, gatherRows(tensor, sequences)]),
  );
  const isDropped = Array.from(uniform('drop', [count]).data, (u) => u < settings.conditionDrop);
  return {
    tokens: maskTokens(targets, isMasked, tokenSpace.maskTokenId),
    targets,
    lossWeights: float32(
      [count, length],
      Float32Array.from(isMasked.data, (masked) => masked / maskedCount),
    ),
    ...timeInputs(teacher.model, { maskRatio }),
    ...withPrefix('condition', dropConditions(condition, teacher.nullCondition, isDropped)),
    ...(settings.dropout === 0
      ? {}
      : Object.fromEntries(
          Object.entries(dropoutSites).map(([site, { shape }]) => [
            `dropout/${site}`,
            uniform(`dropout/${site}`, [count, ...shape]),
          ]),
        )),
  };
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
