/**
 * Losses, divergences and metrics of both phases against float64, on a model that is written twice: which network sees
 * which tokens, condition, time and guidance; means over masked positions; smoothing, soft targets, temperatures, weights.
 */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  createDistillation,
  drawDistillation,
  int32,
  phaseInputs,
  randomStream,
  type DistillationOptions,
  type HostTree,
  type TensorTree,
} from '../index.js';
import type { DistillationPhase } from './draws.js';
import { linearLogits, linearModel, linearTeacher } from '../testing/linear-model.js';
import { drawingProbabilities, invertCdf, softmax } from '../testing/reference-sampling.js';
import { auxiliaryGradients, generatorGradients } from './dimo-step.js';

beforeAll(() => tf.setBackend('cpu'));

const [batch, length, numLogits] = [3, 6, 8];
const weights = {
  teacher: linearModel.initialize(randomStream(1, 0, 'teacher')),
  generator: linearModel.initialize(randomStream(1, 0, 'generator')),
  auxiliary: linearModel.initialize(randomStream(1, 0, 'auxiliary')),
};
const range = (count: number) => Array.from({ length: count }, (_, i) => i);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

function tensors(tree: HostTree): TensorTree {
  return Object.fromEntries(
    Object.entries(tree).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data.slice(), [...shape], dtype)]),
  );
}

/** The outputs of a phase, and the same networks in plain numbers. */
async function phaseOf(phase: DistillationPhase, options: DistillationOptions, negativeLabel = 3) {
  const distillation = createDistillation(
    { ...linearTeacher, weights: weights.teacher },
    { batchSize: batch, seed: 4, tokenInit: { noiseUnit: 'unit', embeddingNoise: 0.4 }, ...options },
    {
      trace: true,
      models: { generator: { weights: weights.generator }, auxiliary: { weights: weights.auxiliary } },
      negativeCondition: { label: int32([], [negativeLabel]) },
    },
  );
  const draws = await drawDistillation(distillation.context, 0);
  const inputs = phaseInputs(distillation.context, draws[phase][0]!, {
    phase,
    step: 0,
    initialMaskRatio: draws.initialMaskRatio,
  });
  const row = (name: string, b: number, size = length) =>
    Array.from(inputs[name]!.data).slice(b * size, (b + 1) * size);
  const outputs = tf.tidy(() => {
    const gradientsOf = phase === 'generator' ? generatorGradients : auxiliaryGradients;
    const result = gradientsOf(distillation.setup, tensors(distillation.program.initialState()), tensors(inputs));
    return Object.fromEntries(
      Object.entries(result.outputs).map(([name, tensor]) => [name, Array.from(tensor.dataSync())]),
    );
  });
  const samples = range(batch).map((b) => {
    const label = row('condition/label', b, 1)[0]!;
    const generated = linearLogits(weights.generator, {
      tokens: row('initialTokens', b),
      label,
      maskRatio: draws.initialMaskRatio,
      noise: { values: row('embeddingNoise', b, length * numLogits), scale: 0.4 },
    });
    const tokens = generated.map((logits, i) =>
      invertCdf(drawingProbabilities(logits, 6, distillation.settings.sampling), row('tokenDraws', b)[i]!),
    );
    const isMasked = row('isMasked', b).map((masked) => masked === 1);
    const maskRatio = row('time/auxiliary/ratio', b, 1)[0]!;
    const remasked = tokens.map((token, i) => (isMasked[i] ? 11 : token));
    const logitsOf = (network: 'teacher' | 'auxiliary', given: number) =>
      linearLogits(weights[network], { tokens: remasked, label: given, maskRatio });
    const guided = (network: 'teacher' | 'auxiliary', scale: number, towards: number, awayFrom: number) => {
      const [c, u] = [logitsOf(network, towards), logitsOf(network, awayFrom)];
      return c.map((line, i) => line.map((value, v) => u[i]![v]! + scale * (value - u[i]![v]!)));
    };
    return { label, generated, tokens, isMasked, maskRatio, guided };
  });
  return { outputs, samples, inputs, row };
}

const logSoftmax = (logits: readonly number[]) => softmax(logits).map(Math.log);

describe('the generator phase', () => {
  it.each<[string, DistillationOptions, number, (ratio: number) => number]>([
    ['forward KL', { divergence: { kind: 'forward-kl' }, teacherGuidance: 1 }, 0, () => 1],
    ['reverse KL, guided', { divergence: { kind: 'reverse-kl' }, teacherGuidance: 2.5 }, 1, () => 1],
    [
      'Jeffreys, temperatures, adaptive guidance, weights, mean',
      {
        divergence: { kind: 'jeffreys', beta: 0.3 },
        teacherTemperature: 0.7,
        auxiliaryTemperature: 1.4,
        teacherGuidance: { kind: 'ratio-adaptive', scale: 3 },
        auxiliaryGuidance: 1.6,
        ratioWeight: 'inverse-ratio',
        lossReduction: 'mean',
        lossWeight: 2,
        maskRatioRange: [0.3, 0.9],
      },
      0.3,
      (ratio) => 1 / ratio,
    ],
    [
      'Jeffreys beyond its end, weighted by the ratio, filtered draws',
      {
        divergence: { kind: 'jeffreys', beta: -0.2 },
        ratioWeight: 'ratio',
        sampling: { temperature: 1.5, topK: 4 },
        lossWeight: 0.5,
      },
      -0.2,
      (ratio) => ratio,
    ],
  ])('computes %s', async (_, options, beta, weightAt) => {
    const negativeLabel = 1;
    const { outputs, samples } = await phaseOf('generator', options, negativeLabel);
    const { teacherTemperature = 1, auxiliaryTemperature = 1, auxiliaryGuidance = 1, teacherGuidance = 1.3 } = options;
    expect(outputs['tokens']).toEqual(samples.flatMap(({ tokens }) => tokens));
    let [squares, divergence, forwardTotal, variation, entropy] = [0, 0, 0, 0, 0];
    samples.forEach(({ label, generated, isMasked, maskRatio, guided }, b) => {
      const scale =
        typeof teacherGuidance === 'number' ? teacherGuidance : 1 + (teacherGuidance.scale! - 1) * maskRatio;
      const teacher = guided('teacher', scale, label, negativeLabel);
      const auxiliary = guided('auxiliary', auxiliaryGuidance, label, 3);
      range(length).forEach((i) => {
        entropy -= sum(softmax(generated[i]!).map((p) => p * Math.log(p)));
        if (!isMasked[i]) return;
        const logP = logSoftmax(teacher[i]!.map((logit) => logit / teacherTemperature));
        const logQ = logSoftmax(auxiliary[i]!.map((logit) => logit / auxiliaryTemperature));
        const [p, q] = [logP.map(Math.exp), logQ.map(Math.exp)];
        const forward = sum(p.map((value, v) => value * (logP[v]! - logQ[v]!)));
        const reverse = sum(q.map((value, v) => value * (logQ[v]! - logP[v]!)));
        const weight = weightAt(maskRatio);
        divergence += weight * ((1 - beta) * forward + beta * reverse);
        forwardTotal += forward;
        variation += sum(p.map((value, v) => Math.abs(value - q[v]!))) / 2;
        range(numLogits).forEach((v) => {
          const slope = (1 - beta) * (q[v]! - p[v]!) + beta * q[v]! * (logQ[v]! - logP[v]! - reverse);
          squares += (weight * slope) ** 2;
          expect(outputs['divergenceGradient']![(b * length + i) * numLogits + v]).toBeCloseTo(weight * slope, 4);
        });
      });
    });
    const numMasked = samples.flatMap(({ isMasked }) => isMasked.filter(Boolean)).length;
    expect(numMasked).toBeLessThan(batch * length);
    expect(outputs['divergence']![0]).toBeCloseTo(divergence / numMasked, 4);
    expect(outputs['forwardKl']![0]).toBeCloseTo(forwardTotal / numMasked, 4);
    expect(outputs['totalVariation']![0]).toBeCloseTo(variation / numMasked, 5);
    expect(outputs['tokenEntropy']![0]).toBeCloseTo(entropy / (batch * length), 5);
    const { lossWeight = 1, lossReduction } = options;
    const size = lossReduction === 'mean' ? batch * length * numLogits : batch;
    expect(outputs['loss']![0]).toBeCloseTo((0.5 * lossWeight * squares) / size, 5);
  });
});

describe('the auxiliary phase', () => {
  it.each<[string, DistillationOptions]>([
    ['without smoothing', { labelSmoothing: 0 }],
    ['smoothed, with dropped conditions', { labelSmoothing: 0.2, conditionDrop: 0.6 }],
    [
      'mixed with the soft loss, guided',
      {
        labelSmoothing: 0.1,
        softWeight: 0.3,
        softTemperature: 2,
        auxiliaryTrainingGuidance: 1.7,
        auxiliaryGuidance: 4,
      },
    ],
  ])('computes the loss %s', async (_, options) => {
    const { outputs, samples, row, inputs } = await phaseOf('auxiliary', options);
    const { labelSmoothing = 0, softWeight = 0, softTemperature = 1, auxiliaryTrainingGuidance = 1 } = options;
    let [hard, nll, soft] = [0, 0, 0];
    const isDropping = 'auxiliaryCondition/label' in inputs;
    expect(isDropping).toBe(options.conditionDrop !== undefined || auxiliaryTrainingGuidance !== 1);
    samples.forEach(({ label, generated, tokens, isMasked, guided }, b) => {
      const told = isDropping ? row('auxiliaryCondition/label', b, 1)[0]! : label;
      const logits = guided('auxiliary', auxiliaryTrainingGuidance, told, 3);
      range(length).forEach((i) => {
        if (!isMasked[i]) return;
        const logP = logSoftmax(logits[i]!);
        nll -= logP[tokens[i]!]!;
        hard -= (1 - labelSmoothing) * logP[tokens[i]!]! + (labelSmoothing / numLogits) * sum(logP);
        const soften = (line: readonly number[]) => logSoftmax(line.map((logit) => logit / softTemperature));
        const [target, predicted] = [soften(generated[i]!), soften(logits[i]!)];
        const kl = sum(target.map((logT, v) => Math.exp(logT) * (logT - predicted[v]!)));
        soft += (kl * softTemperature ** 2) / numLogits;
      });
    });
    const numMasked = samples.flatMap(({ isMasked }) => isMasked.filter(Boolean)).length;
    expect(outputs['maskedNll']![0]).toBeCloseTo(nll / numMasked, 4);
    expect(outputs['hardLoss']![0]).toBeCloseTo(hard / numMasked, 4);
    if (softWeight > 0) expect(outputs['softLoss']![0]).toBeCloseTo(soft / numMasked, 4);
    expect(outputs['loss']![0]).toBeCloseTo((softWeight * soft + (1 - softWeight) * hard) / numMasked, 4);
  });
});
