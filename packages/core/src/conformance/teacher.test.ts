/** The suite itself: a sound teacher passes, and each check notices its defect. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { eagerEngine, int32, type MaskedDiffusionModel, type TeacherDefinition } from '../index.js';
import { tinyTeacher } from '../testing/tiny-model.js';
import { teacherChecks } from './index.js';

const engine = eagerEngine('cpu');

/** Names of the checks that fail. */
async function failures(teacher: TeacherDefinition): Promise<string[]> {
  const failed: string[] = [];
  for (const { name, run } of teacherChecks(teacher))
    await run(engine).catch((error: Error) => failed.push(`${name}: ${error.message}`));
  return failed;
}

function withModel(changes: (model: MaskedDiffusionModel) => Partial<MaskedDiffusionModel>): TeacherDefinition {
  const teacher = tinyTeacher();
  return { ...teacher, model: { ...teacher.model, ...changes(teacher.model) } };
}

describe('teacherChecks', () => {
  for (const { name, run } of teacherChecks(tinyTeacher())) it(`a sound teacher: ${name}`, () => run(engine));

  it('notices a mask id among the codes', async () => {
    const wrong = withModel(({ tokenSpace }) => ({ tokenSpace: { ...tokenSpace, maskTokenId: 0 } }));
    expect(await failures(wrong)).toContainEqual(expect.stringContaining('maskTokenId must be'));
  });

  it('notices a sample that sees its neighbours', async () => {
    const wrong = withModel(({ logits }) => ({
      logits: (weights, inputs) => tf.add(logits(weights, inputs), tf.mean(logits(weights, inputs), 0, true)),
    }));
    expect(await failures(wrong)).toContainEqual(expect.stringContaining('alone against in a batch'));
  });

  it('notices that embedding noise is ignored', async () => {
    const wrong = withModel(({ logits }) => ({
      logits: (weights, { embeddingNoise: _, ...inputs }) => logits(weights, inputs),
    }));
    expect(await failures(wrong)).toContainEqual(expect.stringContaining('is it ignored?'));
  });

  it('notices a null condition that does not fit, and conditions of another shape', async () => {
    const teacher = tinyTeacher();
    expect(await failures({ ...teacher, nullCondition: {} })).toContainEqual(
      expect.stringContaining('missing "label"'),
    );
    const conditions = { ...teacher.conditions, sample: () => ({ label: int32([1], [0]) }) };
    expect(await failures({ ...teacher, conditions })).toContainEqual(expect.stringContaining('shape "label"'));
  });
});
