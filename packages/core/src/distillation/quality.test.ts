/**
 * The whole method on a toy: sequences whose label determines every token. A masked diffusion model is trained on them,
 * distilled, and the one-step generator must do far better than the teacher in one step.
 */
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import {
  compileOneStep,
  createDistillation,
  eagerEngine,
  int32,
  randomStream,
  runTraining,
  sampleOneStep,
  subtree,
  teacherTrainingProgram,
  type HostTensor,
  type ModelState,
  type Teacher,
  type TrainingResult,
} from '../index.js';
import { tinyTeacher } from '../testing/tiny-model.js';

const labels = randomStream(1, 0, 'labels').integers(300, 3);

/** Fraction of tokens that are the label's; data: all of them. */
function consistency(tokens: HostTensor<'int32'>, given: Int32Array): number {
  return tokens.data.filter((token, i) => token === given[Math.floor(i / 6)]).length / tokens.data.length;
}

describe('distillation of a toy teacher', () => {
  it('makes a one-step generator that follows the data', async () => {
    const engine = eagerEngine('cpu');
    const definition = tinyTeacher({ width: 12 });
    const data = {
      tokens: int32(
        [300, 6],
        Int32Array.from({ length: 1800 }, (_, i) => labels[Math.floor(i / 6)]!),
      ),
      condition: { label: int32([300], labels) },
    };
    const training = teacherTrainingProgram(definition, data, {
      numSteps: 80,
      batchSize: 16,
      learningRate: 0.02,
      averageDecay: 0.9,
    });
    const trained = await runTraining(training, { engine });
    const teacher: Teacher = { ...definition, weights: subtree('ema', trained.state) };
    const distillation = createDistillation(teacher, {
      numSteps: 100,
      batchSize: 16,
      generatorLearningRate: 5e-3,
      auxiliaryLearningRate: 1e-2,
      averageDecay: 0.9,
      teacherGuidance: 2,
    });
    const tokenInit = distillation.generator.sampling.tokenInit!;
    const quality = async ({ state }: Pick<TrainingResult, 'state'>, model: ModelState) => {
      const device = await engine.upload(state);
      const sampler = await compileOneStep(engine, definition.model, { batchSize: 100, tokenInit, state: model });
      const tokens = await sampleOneStep(sampler, { weights: device, condition: data.condition, seed: 0 });
      await device.dispose();
      return consistency(tokens, labels);
    };
    const before = await quality({ state: distillation.program.initialState() }, distillation.models.ema);
    const after = await quality(await runTraining(distillation.program, { engine }), distillation.models.ema);
    expect(before).toBeLessThan(0.85);
    expect(after).toBeGreaterThan(0.9);
    await engine.dispose();
  });
});
