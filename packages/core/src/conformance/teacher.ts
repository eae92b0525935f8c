/**
 * The conformance suite of teachers: what core relies on when it trains, distils and samples a teacher. With vitest:
 *
 *     for (const check of teacherChecks(myTeacher.define({}))) it(check.name, () => check.run(engine));
 *
 * Run it with a small configuration; any engine will do.
 */
import '../gradients.js';
import { createDistillation } from '../distillation/distillation.js';
import type { Engine } from '../engine/engine.js';
import { fromContract1 } from '../model/forward-pass.js';
import { conditionSpecs } from '../model/guidance.js';
import { contractVersion, type Teacher, type TeacherDefinition } from '../model/model.js';
import { compileMultiStep, sampleMultiStep } from '../sampling/multi-step.js';
import { compileOneStep, sampleOneStep } from '../sampling/one-step.js';
import { sampleStream } from '../random/sample-stream.js';
import { gatherRows } from '../tensors/batches.js';
import { int32, subtree } from '../tensors/tensors.js';
import { runTraining } from '../training/training.js';
import { require, requireClose, requireEqual, tensorOf } from './expectations.js';
import { sequenceLength } from '../model/token-space.js';
import { checkGradients, checkRecomputation } from './teacher-gradients.js';
import { checkEmbeddingGradient, checkEmbeddings, checkPasses } from './teacher-embeddings.js';
import {
  initialWeights,
  logitsOf,
  partlyMasked,
  repeated,
  requireFinite,
  requireSpecs,
  rowOf,
  sampled,
} from './teacher-evaluation.js';

/** One named check. */
export interface TeacherCheck {
  readonly name: string;
  /** Resolves if the teacher passes. @throws ConformanceError that says what was expected and what came. */
  readonly run: (engine: Engine) => Promise<void>;
}

/** All checks of a teacher. */
export function teacherChecks(teacher: TeacherDefinition): TeacherCheck[] {
  const check = (name: string, run: (teacher: TeacherDefinition, engine: Engine) => unknown): TeacherCheck => ({
    name,
    run: async (engine) => void (await run(teacher, engine)),
  });
  return [
    check('its facts fit each other', checkFacts),
    check('it initializes every parameter, and the same ones from the same stream', checkInitialization),
    check('its conditions fit the model', checkConditions),
    check('its logits are finite and have the shape that the token space says', checkLogits),
    check('its samples do not depend on their neighbours in the batch', checkBatch),
    check('it embeds each token by itself', checkEmbeddings),
    check('its logits follow from the embeddings alone, perturbed or not', checkPasses),
    check('every parameter has a finite gradient', checkGradients),
    check('its gradients are the same where blocks are computed twice', checkRecomputation),
    check('its embeddings have a finite gradient', checkEmbeddingGradient),
    check('it is distilled, and sampled in one step and in several, to tokens of the codebook', checkDistillation),
  ];
}

function checkFacts({ contract, name, model, nullCondition, config }: TeacherDefinition): void {
  const { codebookSize, numLogits, maskTokenId, grid } = model.tokenSpace;
  require(contract === contractVersion, () =>
    `contract must be ${contractVersion}, got ${String(contract)}: ${fromContract1}`);
  require(name !== '' && model.name !== '', () => 'teacher and model need a name');
  for (const [fact, value] of Object.entries({ codebookSize, numLogits, rows: grid[0], columns: grid[1] }))
    require(Number.isInteger(value) && value >= 1, () => `${fact} must be a positive integer, got ${value}`);
  require(numLogits >= codebookSize, () => `numLogits ${numLogits} must be at least codebookSize ${codebookSize}`);
  require(Number.isInteger(maskTokenId) && maskTokenId >= codebookSize, () =>
    `maskTokenId must be an integer of at least codebookSize ${codebookSize}, got ${maskTokenId}`);
  for (const parameter of model.embeddingParameters)
    require(parameter in model.parameters, () => `embeddingParameters names "${parameter}", which is no parameter`);
  requireSpecs('nullCondition', nullCondition, model.condition);
  require(JSON.stringify(JSON.parse(JSON.stringify(config))) === JSON.stringify(config), () =>
    'config must be plain JSON');
}

function checkInitialization({ model }: TeacherDefinition): void {
  const weights = initialWeights(model);
  requireSpecs('initialize', weights, model.parameters);
  const again = initialWeights(model);
  for (const [name, tensor] of Object.entries(weights)) {
    requireFinite(name, tensor);
    requireEqual(`initialize: "${name}" from the same stream`, tensorOf(again, name), tensor);
  }
}

async function checkConditions({ model, conditions }: TeacherDefinition): Promise<void> {
  // As trainings draw: the streams of three samples as one.
  const draw = (first = 0, count = 3) => conditions.sample(sampleStream(1, first, count, 'conditions'), count);
  const drawn = await draw();
  requireSpecs('conditions.sample', drawn, subtree('condition', conditionSpecs(model, 3)));
  const again = await draw();
  for (const [name, tensor] of Object.entries(drawn))
    requireEqual(`conditions.sample: "${name}" from the same stream`, tensorOf(again, name), tensor);
  const second = await draw(1, 1);
  for (const [name, tensor] of Object.entries(drawn))
    // Numbers that a network computes may differ in the last bits with the size of the batch.
    if (tensor.dtype === 'int32')
      requireEqual(
        `conditions.sample: "${name}" of the second of three samples, drawn alone`,
        tensorOf(second, name),
        gatherRows(tensor, [1]),
      );
  const { classNames } = conditions;
  if (!classNames) return;
  const parsed = await conditions.parse(classNames);
  requireSpecs(
    'conditions.parse of all classNames',
    parsed,
    subtree('condition', conditionSpecs(model, classNames.length)),
  );
}

async function checkLogits(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const { model } = teacher;
  const length = sequenceLength(model.tokenSpace);
  const expected = [2, length, model.tokenSpace.numLogits].join(', ');
  const allMasked = int32([2, length], new Int32Array(2 * length).fill(model.tokenSpace.maskTokenId));
  const inputs = {
    'all tokens masked': { tokens: allMasked, condition: await sampled(teacher, 2) },
    'some tokens masked': { tokens: partlyMasked(teacher, 2), condition: await sampled(teacher, 2) },
    'no condition': { tokens: partlyMasked(teacher, 2), condition: repeated(teacher.nullCondition, 2) },
  };
  for (const [where, given] of Object.entries(inputs)) {
    const logits = await logitsOf(engine, teacher, given);
    require(logits.shape.join(', ') === expected, () =>
      `logits with ${where} must be [${expected}], got [${logits.shape.join(', ')}]`);
    requireFinite(`logits with ${where}`, logits);
  }
}

async function checkBatch(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const tokens = partlyMasked(teacher, 3);
  const condition = await sampled(teacher, 3);
  const together = await logitsOf(engine, teacher, { tokens, condition });
  for (let row = 0; row < 3; row++) {
    const alone = await logitsOf(engine, teacher, {
      tokens: rowOf(tokens, row),
      condition: Object.fromEntries(Object.entries(condition).map(([name, tensor]) => [name, rowOf(tensor, row)])),
    });
    // The order of summation inside an engine may depend on the batch.
    requireClose(`logits of sample ${row}, alone against in a batch`, alone, rowOf(together, row), 1e-4);
  }
}

async function checkDistillation(definition: TeacherDefinition, engine: Engine): Promise<void> {
  const { model } = definition;
  const teacher: Teacher = { ...definition, weights: initialWeights(model) };
  const { program, context } = createDistillation(teacher, { numSteps: 1, batchSize: 2, teacherGuidance: 2 });
  const { counters } = await runTraining(program, { engine });
  require(counters['generatorUpdates'] === 1 && counters['auxiliaryUpdates'] === 1, () =>
    `one step must update generator and auxiliary model once, got ${JSON.stringify(counters)}`);
  const weights = await engine.upload(teacher.weights);
  const condition = await sampled(definition, 2);
  const tokenInit = { maskRatio: 0.6, embeddingNoise: 0.1, noiseDeviation: context.noiseUnit };
  const oneStep = await compileOneStep(engine, model, { batchSize: 2, tokenInit });
  const multiStep = await compileMultiStep(engine, teacher, { batchSize: 2, sampler: { numSteps: 3 } });
  try {
    for (const [where, tokens] of Object.entries({
      'one step': await sampleOneStep(oneStep, { weights, condition, seed: 1 }),
      'three steps': await sampleMultiStep(multiStep, model, { weights, condition, seed: 1 }),
    }))
      require(tokens.data.every((token) => token >= 0 && token < model.tokenSpace.codebookSize), () =>
        `tokens of ${where} must be in [0, ${model.tokenSpace.codebookSize})`);
  } finally {
    await oneStep.dispose();
    await multiStep.dispose();
    await weights.dispose();
  }
}
