/** Our side of the decoder benchmark: a child process that makes a decoder with random weights and decodes. */
import { createOnnxEngine } from '@dimo/backend-node';
import { compileDecoder, float32, int32, randomStream, sizeOf, writeSafetensors } from '@dimo/core';
import { imagenet256Config } from '@dimo/teacher-maskgit';
import { vqganTokenizer } from '@dimo/tokenizers';
import { vqModel } from '@dimo/teacher-meissonic';
import { writeFileSync } from 'node:fs';
import { serve } from './child.mjs';
import { cpuSeconds, peakRss } from './statistics.mjs';

/** Sizes of the two decoders; Meissonic's as diffusers' script for its family makes it. */
const decoders = {
  meissonic: (grid) =>
    vqModel(
      {
        block_out_channels: [128, 256, 256, 512, 768],
        layers_per_block: 2,
        latent_channels: 64,
        num_vq_embeddings: 8192,
        mid_block_add_attention: false,
      },
      { grid: [grid, grid] },
    ),
  maskgit: (grid) => vqganTokenizer({ ...imagenet256Config.tokenizer, imageSize: [16 * grid, 16 * grid] }),
};

let engine;
let compiled;
let weights;
let tokens;

/** Random weights that keep the size of what they are given. */
function randomWeights(parameters) {
  const pool = randomStream(1, 0, 'bench/weights').normal(2 ** 20);
  return Object.fromEntries(
    Object.entries(parameters).map(([name, { shape }], index) => {
      const isNorm = shape.length === 1 && name.endsWith('weight');
      const deviation = shape.length === 1 ? 0.02 : 1 / Math.sqrt(sizeOf(shape.slice(1)));
      const data = Float32Array.from(
        { length: sizeOf(shape) },
        (_, i) => (isNorm ? 1 : 0) + deviation * pool[(7919 * index + i) % pool.length],
      );
      return [name, float32(shape, data)];
    }),
  );
}

await serve({
  async start({ decoder: name, pixels, threads, file }) {
    engine = await createOnnxEngine({ threads });
    const grid = pixels / 16;
    const decoder = decoders[name](grid);
    const tree = randomWeights(decoder.parameters);
    tokens = int32([1, grid ** 2], randomStream(2, 0, 'bench/tokens').integers(grid ** 2, decoder.codebookSize));
    writeFileSync(file, writeSafetensors({ ...tree, tokens }));
    compiled = await compileDecoder(engine, decoder, 1);
    weights = await engine.upload(tree, { move: true });
    return { info: engine.info };
  },

  /** Decodes once; with `file` the image is saved there. */
  async decode({ file }) {
    const [start, cpu] = [performance.now(), cpuSeconds()];
    const images = await compiled.decode(weights, tokens);
    const answer = { seconds: (performance.now() - start) / 1000, cpuSeconds: cpuSeconds() - cpu, peakRss: peakRss() };
    if (file) writeFileSync(file, writeSafetensors({ images }));
    return answer;
  },
});
await engine?.dispose();
