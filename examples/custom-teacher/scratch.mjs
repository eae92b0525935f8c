import plugin, { convolutionModel, chainDataset, bigramDivergence, bigramEntropy, negativeLogLikelihood } from './dist/index.js';
import * as core from '@dimo/core';
import { createOnnxEngine } from '../../packages/backend-node/dist/index.js';
const engine = await createOnnxEngine({ threads: 1 });
const teacher = plugin.teachers[0].define({});
const t0 = performance.now();
const program = core.teacherTrainingProgram(teacher, chainDataset(16384, 1), { numSteps: Number(process.argv[2] ?? 600), batchSize: 64, learningRate: 3e-3, labelSmoothing: 0, maskSchedule: 'linear' });
const r = await core.runTraining(program, { engine, onStep: ({ step, metrics }) => { if (step % 100 === 0) console.log(step, metrics.maskedNll, ((performance.now() - t0) / 1000).toFixed(1)); } });
const weights = core.subtree('ema', r.state);
const n = 1000;
const condition = teacher.conditions.sample(core.randomStream(1, 0, 'c'), n);
const dev = await engine.upload(weights);
for (const numSteps of [16, 8, 4, 2, 1]) {
  const s = await core.compileMultiStep(engine, teacher, { batchSize: 200, numSteps, confidence: process.argv[3] ?? 'random', choiceTemperature: 4.5 });
  const tokens = await core.sampleMultiStep(s, teacher.model, { weights: dev, condition, seed: 1 });
  console.log(numSteps, bigramDivergence.compute({ tokens, condition }), negativeLogLikelihood.compute({ tokens, condition }), bigramEntropy.compute({ tokens, condition }));
}
console.log(((performance.now() - t0) / 1000).toFixed(1));
const { writeFileSync } = await import('node:fs');
writeFileSync('/tmp/markov-teacher.safetensors', core.writeSafetensors(weights));
await engine.dispose();
