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

  it('notices a null condition that does not fit, and conditions of another shape', async () => {
    const teacher = tinyTeacher();
    expect(await failures({ ...teacher, nullCondition: {} })).toContainEqual(
      expect.stringContaining('missing "label"'),
    );
    const conditions = { ...teacher.conditions, sample: () => ({ label: int32([1], [0]) }) };
    expect(await failures({ ...teacher, conditions })).toContainEqual(expect.stringContaining('shape "label"'));
  });
});

/** Logits of what `change` makes of the embeddings and of those that `embed` gave last. */
function rememberingModel(
  { embed, logits }: MaskedDiffusionModel,
  change: (given: { readonly clean: tf.Tensor3D; readonly embeddings: tf.Tensor3D }) => tf.Tensor3D,
): Partial<MaskedDiffusionModel> {
  let clean: tf.Tensor3D | undefined;
  return {
    embed: (weights, tokens) => (clean = embed(weights, tokens)),
    logits: (weights, inputs) =>
      logits(weights, { ...inputs, embeddings: change({ clean: clean!, embeddings: inputs.embeddings }) }),
  };
}

/** `embed` and `logits` with something wrong between them; what the suite says of it, and what is changed. */
const wrongPasses: Record<string, [message: string, (model: MaskedDiffusionModel) => Partial<MaskedDiffusionModel>]> = {
  'embeddings of another width': [
    'embed must give [batch, n, embeddingWidth]',
    ({ embeddingWidth }) => ({ embeddingWidth: embeddingWidth - 1 }),
  ],
  'one embedding for every token': [
    'embed must tell tokens apart',
    ({ embed }) => ({ embed: (weights, tokens) => tf.zerosLike(embed(weights, tokens)) }),
  ],
  'an embedding of the position': [
    'against the token alone',
    ({ embed }) => ({
      embed(weights, tokens) {
        const place = tf.range(0, tokens.shape[1]) as tf.Tensor1D;
        return tf.add(embed(weights, tokens), tf.reshape(place, [1, -1, 1]));
      },
    }),
  ],
  'an embedding that sees its neighbours': [
    'against the token alone',
    ({ embed }) => ({
      embed: (weights, tokens) => tf.add(embed(weights, tokens), tf.mean(embed(weights, tokens), 1, true)),
    }),
  ],
  'noise of its own in embed': [
    'against the token alone',
    ({ embed }) => ({
      embed(weights, tokens) {
        const clean = embed(weights, tokens);
        return tf.add(tf.mul(clean, 0.9), tf.randomNormal(clean.shape, 0, 0.1));
      },
    }),
  ],
  'noise of its own in logits': [
    'logits of tokens, against logits of their embeddings',
    ({ logits }) => ({
      logits(weights, inputs) {
        const noise = tf.randomNormal<tf.Rank.R3>(inputs.embeddings.shape, 0, 0.1);
        return logits(weights, { ...inputs, embeddings: tf.add(inputs.embeddings, noise) });
      },
    }),
  ],
  'logits of the tokens that were embedded last, whatever the embeddings': [
    'logits of tokens, against logits of their embeddings',
    (model) => rememberingModel(model, ({ clean }) => clean),
  ],
  'noise that is applied a second time': [
    'logits of tokens, against logits of their embeddings',
    (model) => rememberingModel(model, ({ clean, embeddings }) => tf.add(embeddings, tf.sub(embeddings, clean))),
  ],
  // scale * noise + (1 - scale) * clean for the scale 0.5.
  'noise by another formula': [
    'logits of tokens, against logits of their embeddings',
    (model) =>
      rememberingModel(model, ({ clean, embeddings }) =>
        tf.sub(embeddings, tf.mul(clean, Math.sqrt(1 - 0.5 ** 2) - 0.5)),
      ),
  ],
  'embeddings that no gradient passes': [
    'the gradient of the embeddings is 0 everywhere',
    ({ logits }) => ({
      logits(weights, inputs) {
        const embeddings = tf.div<tf.Tensor3D>(tf.round(tf.mul(inputs.embeddings, 2 ** 20)), 2 ** 20);
        return logits(weights, { ...inputs, embeddings });
      },
    }),
  ],
  'embeddings that do not matter': [
    'are the embeddings ignored?',
    ({ logits }) => ({
      logits: (weights, inputs) => logits(weights, { ...inputs, embeddings: tf.zerosLike(inputs.embeddings) }),
    }),
  ],
};

describe('teacherChecks notice', () => {
  it.each(Object.entries(wrongPasses))('%s', async (_, [message, changes]) => {
    expect(await failures(withModel(changes))).toContainEqual(expect.stringContaining(message));
  });
});
