/**
 * One-step generation against the teacher's many steps with guidance, on the same engine: images a second, tokens alone
 * and with decoding. Speed does not depend on the weights' values, so where the preset is absent random weights of its
 * architecture do.
 *
 *   node bench/one-step.mjs [engine=onnx] [threads=2] [batch=64] [images=1024] [rounds=5] [steps=16] [guidance=2]
 */
import { chooseEngine, folderWeightSource } from '@dimo/backend-node';
import {
  compileDecoder,
  compileMultiStep,
  compileOneStep,
  embeddingRms,
  randomStream,
  sampleMultiStep,
  sampleOneStep,
} from '@dimo/core';
import { presetFolder, presets } from '@dimo/presets';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { cpuSeconds, loadLine, median, options } from './lib/statistics.mjs';

const given = options({ engine: 'onnx', threads: 2, batch: 64, images: 1024, rounds: 5, steps: 16, guidance: 2 });

async function loadTeacher() {
  const folder = fileURLToPath(presetFolder(presets.mnist));
  if (existsSync(folder))
    return { teacher: await maskgitTeacher.load({}, folderWeightSource(folder)), name: 'preset mnist' };
  const definition = maskgitTeacher.define({});
  const { decoder } = definition;
  const decoderWeights = Object.fromEntries(
    Object.entries(decoder.parameters).map(([name, { dtype, shape }]) => {
      const size = shape.reduce((product, length) => product * length, 1);
      const data = randomStream(2, 0, name)
        .normal(size)
        .map((value) => 0.1 * value);
      return [name, { dtype, shape, data }];
    }),
  );
  const weights = definition.model.initialize(randomStream(1, 0, 'bench'));
  return { teacher: { ...definition, weights, decoderWeights }, name: 'random weights of the mnist architecture' };
}

const { teacher, name } = await loadTeacher();
const { engine } = await chooseEngine(given.engine, { threads: given.threads });
const weights = await engine.upload(teacher.weights);
const decoderWeights = await engine.upload(teacher.decoderWeights);
const tokenInit = { maskRatio: 0.6, embeddingNoise: 0.1, noiseDeviation: embeddingRms(teacher.model, teacher.weights) };
const oneStep = await compileOneStep(engine, teacher.model, { batchSize: given.batch, tokenInit });
const withoutNoise = await compileOneStep(engine, teacher.model, {
  batchSize: given.batch,
  tokenInit: { ...tokenInit, embeddingNoise: 0 },
});
const many = await compileMultiStep(engine, teacher, {
  batchSize: given.batch,
  sampler: { numSteps: given.steps, guidanceScale: given.guidance },
});
const decoder = await compileDecoder(engine, teacher.decoder, given.batch);
const condition = await teacher.conditions.sample(randomStream(3, 0, 'conditions'), given.images);

const methods = {
  [`teacher, ${given.steps} steps`]: (seed) => sampleMultiStep(many, teacher.model, { weights, condition, seed }),
  'generator, 1 step': (seed) => sampleOneStep(oneStep, { weights, condition, seed }),
  'generator, 1 step, no embedding noise': (seed) => sampleOneStep(withoutNoise, { weights, condition, seed }),
};
const seconds = Object.fromEntries(Object.keys(methods).map((method) => [method, { tokens: [], images: [], cpu: [] }]));
console.log(
  `${name}; ${engine.info.name} on ${engine.info.device}; batch ${given.batch}, ${given.images} images a round`,
);
console.log(loadLine());
for (let round = -1; round < given.rounds; round++)
  for (const [method, sample] of Object.entries(methods)) {
    const cpu = cpuSeconds();
    const start = performance.now();
    const tokens = await sample(round + 1);
    const afterTokens = performance.now();
    const cpuAfter = cpuSeconds();
    await decoder.decode(decoderWeights, tokens);
    const afterImages = performance.now();
    // The first round warms up.
    if (round < 0) continue;
    seconds[method].tokens.push((afterTokens - start) / 1000);
    seconds[method].images.push((afterImages - start) / 1000);
    seconds[method].cpu.push(cpuAfter - cpu);
  }
const [slow] = Object.values(seconds);
for (const [method, { tokens, images, cpu }] of Object.entries(seconds)) {
  console.log(
    `${method.padEnd(38)} ${(given.images / median(tokens)).toFixed(0).padStart(6)} token grids/s ${(given.images / median(images)).toFixed(0).padStart(6)} images/s, CPU ${((1000 * median(cpu)) / given.images).toFixed(2)} ms a token grid`,
  );
  if (tokens === slow.tokens) continue;
  const ratio = (key, values) => median(slow[key].map((value, round) => value / values[round])).toFixed(1);
  console.log(
    `  ${ratio('tokens', tokens)}x faster in tokens (target 25x; ${ratio('cpu', cpu)}x in CPU time), ${ratio('images', images)}x with decoding (target 10x)`,
  );
}
await engine.dispose();
process.exit(0);
