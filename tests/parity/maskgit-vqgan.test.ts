/**
 * VQGAN encoder, quantizer and decoder against the Taming original (fixtures made on CPU in float32). Tolerance 1e-4:
 * PyTorch's own float32 is 6e-6 from float64. Codes are exact; pixels may differ by 1 where rounding falls on an edge.
 */
import { float32, int32, type Engine, type HostTensor, type HostTree, type PureFunction } from '@dimo/core';
import { vqganTokenizer } from '@dimo/tokenizers';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  channelsLast,
  engines,
  get,
  largestError,
  readTensors,
  vqganConfig,
  vqganFolders,
  vqganWeights,
} from './maskgit-fixtures.js';
import { runOnce } from './run-once.js';

const tolerance = 1e-4;

it('finds fixtures', () => expect(vqganFolders.length).toBeGreaterThan(0));

describe.each(engines)('on $name', ({ create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  describe.each(vqganFolders)('%s', (folder) => {
    const { config, grid } = vqganConfig(folder);
    const tokenizer = vqganTokenizer({ ...config, imageSize: grid * 2 ** (config.ddconfig.ch_mult.length - 1) });
    const io = readTensors(folder, 'io.safetensors');
    let weights: HostTree;
    beforeAll(async () => void (weights = await vqganWeights(folder)));

    /** Images of codes on any grid: the network's own range, and the decoder's [0, 1]. */
    async function decode(codes: HostTensor): Promise<HostTree> {
      const [batch, rows, columns] = codes.shape as [number, number, number];
      const fn: PureFunction = (state, inputs) => {
        const vectors = tf.gather(state['quantize.embedding.weight']!, inputs['codes'] as tf.Tensor1D);
        const onGrid: Tensor4D = tf.reshape(vectors, [batch, rows, columns, tokenizer.codeWidth]);
        const raw = tokenizer.decodeVectors(state, onGrid);
        return { outputs: { raw, images: tokenizer.toImages(raw) } };
      };
      return runOnce(engine, fn, weights, { codes: int32([codes.data.length], codes.data) });
    }

    it('has exactly the parameters of the original', () => {
      expect(Object.keys(tokenizer.parameters).sort()).toEqual(Object.keys(weights).sort());
    });

    it('encodes images', async () => {
      const images = channelsLast(get(io, 'image'));
      const unit = float32(
        images.shape,
        images.data.map((value) => (value + 1) / 2),
      );
      const fn: PureFunction = (state, inputs) => {
        const given = inputs['images'] as Tensor4D;
        return { outputs: { vectors: tokenizer.encodeVectors(state, given), tokens: tokenizer.encode(state, given) } };
      };
      const result = await runOnce(engine, fn, weights, { images: unit });
      const latents = io['acts.quant_conv'] ?? io['quant_conv'];
      if (latents) {
        const expected = channelsLast(latents);
        const vectors = result['vectors']!;
        const first = float32(expected.shape, (vectors.data as Float32Array).slice(0, expected.data.length));
        expect(largestError(first, expected)).toBeLessThan(tolerance);
      }
      expect(Array.from(result['tokens']!.data)).toEqual(Array.from(get(io, 'codes').data));
    });

    const cases = Object.keys(io).flatMap((key) => /^(decode[^.]*)\.codes$/.exec(key)?.[1] ?? []);
    it.each(cases)('decodes the codes of case %s', async (name) => {
      const { raw } = await decode(get(io, `${name}.codes`));
      expect(largestError(raw!, channelsLast(get(io, `${name}.image`)))).toBeLessThan(tolerance);
    });

    it('decodes what it encoded', async () => {
      const { raw } = await decode(get(io, 'codes'));
      expect(largestError(raw!, channelsLast(get(io, 'roundtrip.image')))).toBeLessThan(tolerance);
    });

    it('brings images to [0, 1] as the decoder of tokens', async () => {
      const codes = get(io, 'decode.codes');
      const [batch = 0, rows = 0, columns = 0] = codes.shape;
      const fn: PureFunction = (state, inputs) => ({
        outputs: { images: tokenizer.decode(state, inputs['tokens'] as Tensor2D) },
      });
      const tokens = int32([batch, rows * columns], codes.data);
      const { images } = await runOnce(engine, fn, weights, { tokens });
      const clipped = channelsLast(get(io, 'decode.png_float'));
      const expected = { ...clipped, data: clipped.data.map((value) => Math.min(1, Math.max(0, value))) };
      expect(largestError(images!, expected)).toBeLessThan(tolerance);

      const pixels = get(io, 'decode.uint8_nhwc').data;
      const bytes = Array.from(images!.data, (value) => Math.trunc(Math.min(255, (2 * value - 1) * 127.5 + 128)));
      const differing = bytes.filter((byte, i) => byte !== pixels[i]);
      expect(bytes.every((byte, i) => Math.abs(byte - pixels[i]!) <= 1)).toBe(true);
      expect(differing.length).toBeLessThan(bytes.length / 1000);
    });
  });
});
