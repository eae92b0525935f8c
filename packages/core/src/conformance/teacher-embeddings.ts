/** Checks of the two halves of a pass, `embed` and `logits`, and of what happens between them. */
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { Engine } from '../engine/engine.js';
import { forwardPass } from '../model/forward-pass.js';
import type { TeacherDefinition } from '../model/model.js';
import { randomStream } from '../random/random.js';
import { float32, int32, scalar, type HostTensor } from '../tensors/tensors.js';
import { require, requireClose, tensorOf } from './expectations.js';
import { evaluate, partlyMasked, passInputs, passTensors, requireFinite, sampled } from './teacher-evaluation.js';

/** The order of summation inside an engine may depend on the shape. */
const tolerance = 1e-4;

/** `embed` has the shape that the model says, and gives every token the same embedding wherever it stands. */
export async function checkEmbeddings(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const { embeddingWidth } = teacher.model;
  const tokens = partlyMasked(teacher, 2);
  const shape = [...tokens.shape, embeddingWidth];
  const embeddings = await embeddingsOf(engine, teacher, tokens);
  require(embeddings.shape.join(', ') === shape.join(', '), () =>
    `embed must give [batch, n, embeddingWidth] = [${shape.join(', ')}], got [${embeddings.shape.join(', ')}]`);
  requireFinite('embeddings', embeddings);
  require(embeddings.data.some((value, i) => value !== embeddings.data[i % embeddingWidth]), () =>
    'embed must tell tokens apart, but gives all of them the same embedding');
  const alone = await embeddingsOf(engine, teacher, int32([tokens.data.length, 1], tokens.data));
  requireClose(
    'embed: a token in a sequence, against the token alone (position, neighbours and chance have no part in it)',
    { ...embeddings, shape: alone.shape },
    alone,
    tolerance,
  );
}

/**
 * A pass is `logits` of the embeddings or of their perturbation by the formula, which is computed here a second time, in
 * numbers of the host.
 */
export async function checkPasses(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const { model } = teacher;
  const tokens = partlyMasked(teacher, 2);
  const given = passTensors(model, { tokens, condition: await sampled(teacher, 2) });
  const embeddings = await embeddingsOf(engine, teacher, tokens);
  const noise = float32(embeddings.shape, randomStream(3, 0, 'noise').normal(embeddings.data.length));

  const whole = async (noiseScale?: number): Promise<HostTensor> => {
    const perturbation = noiseScale === undefined ? {} : { noise, noiseScale: scalar(noiseScale) };
    const outputs = await evaluate(engine, model, { ...given, ...perturbation }, (weights, values) => {
      const embeddingNoise = values['noise'] && {
        noise: values['noise'] as Tensor3D,
        scale: values['noiseScale'] as Scalar,
      };
      const inputs = { ...passInputs(values), ...(embeddingNoise ? { embeddingNoise } : {}) };
      return { logits: forwardPass(model, weights, inputs) };
    });
    return tensorOf(outputs, 'logits');
  };
  const fromEmbeddings = async (noiseScale: number): Promise<HostTensor> => {
    const kept = Math.sqrt(1 - noiseScale ** 2);
    const perturbed = embeddings.data.map((value, i) => noiseScale * noise.data[i]! + kept * value) as Float32Array;
    const others = int32(tokens.shape, tokens.data.toReversed());
    const inputs = { ...given, tokens: others, embeddings: float32(embeddings.shape, perturbed) };
    const outputs = await evaluate(engine, model, inputs, (weights, values) => {
      const { tokens: _, ...rest } = passInputs(values);
      // So that logits which look at the tokens that were embedded last see others.
      model.embed(weights, values['tokens'] as Tensor2D);
      return { logits: model.logits(weights, { ...rest, embeddings: values['embeddings'] as Tensor3D }) };
    });
    return tensorOf(outputs, 'logits');
  };

  const plain = await whole();
  requireClose('logits of tokens, against logits of their embeddings', plain, await fromEmbeddings(0), tolerance);
  requireClose('logits with noise of scale 0', await whole(0), plain, tolerance);
  const noisy = await whole(0.5);
  requireClose(
    'logits with noise of scale 0.5, against logits of scale * noise + sqrt(1 - scale^2) * embedding',
    noisy,
    await fromEmbeddings(0.5),
    tolerance,
  );
  require(noisy.data.some((value, i) => Math.abs(value - plain.data[i]!) > 1e-6), () =>
    'logits must change with noise of scale 0.5 on the embeddings; are the embeddings ignored?');
}

/** The embeddings may come from somewhere else than `embed`, and then a gradient has to reach what made them. */
export async function checkEmbeddingGradient(teacher: TeacherDefinition, engine: Engine): Promise<void> {
  const { model } = teacher;
  const tokens = partlyMasked(teacher, 2);
  const embeddings = await embeddingsOf(engine, teacher, tokens);
  const inputs = { ...passTensors(model, { tokens, condition: await sampled(teacher, 2) }), embeddings };
  const { gradient } = await evaluate(engine, model, inputs, (weights, values) => {
    const { tokens: _, ...rest } = passInputs(values);
    const loss = (given: tf.Tensor) =>
      tf.sum(tf.square(model.logits(weights, { ...rest, embeddings: given as Tensor3D })));
    return { gradient: tf.grad(loss)(values['embeddings']!) };
  });
  requireFinite('gradient of the embeddings', gradient!);
  require(gradient!.data.some((value) => value !== 0), () => 'the gradient of the embeddings is 0 everywhere');
}

async function embeddingsOf(
  engine: Engine,
  { model }: TeacherDefinition,
  tokens: HostTensor<'int32'>,
): Promise<HostTensor> {
  const outputs = await evaluate(engine, model, { tokens }, (weights, values) => ({
    embeddings: model.embed(weights, values['tokens'] as Tensor2D),
  }));
  return tensorOf(outputs, 'embeddings');
}
