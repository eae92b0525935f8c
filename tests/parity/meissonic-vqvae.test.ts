/**
 * VQ-VAE encoder, quantizer and decoder against diffusers' VQModel (fixtures made on CPU in float32). Tolerance 1e-4:
 * values are of order 1 and pass through some thirty layers in float32. Codes are exact: the fixtures' smallest distance
 * margin between best and second best code is 4e-3.
 */
import { float32, int32, type Engine, type HostTensor, type HostTree, type PureFunction } from '@dimo/core';
import { vqModel, type VqModelConfig } from '@dimo/teacher-meissonic';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enginesUnderTest } from './engines.js';
import { foldersWith, loadJson, loadTensors, maxDifference } from './fixtures.js';
import { runOnce } from './run-once.js';

const root = 'meissonic';
const folders = foldersWith(root, 'config.json').filter(
  (folder) => loadJson<Record<string, unknown>>(root, folder, 'config.json')['_class_name'] === 'VQModel',
);

it('finds fixtures', () => expect(folders.length).toBeGreaterThan(0));

/** [batch, H, W, C] of [batch, C, H, W]. */
function channelsLast({ shape, data }: HostTensor): HostTensor<'float32'> {
  const [batch, channels, height, width] = shape as [number, number, number, number];
  const area = height * width;
  const result = float32([batch, height, width, channels]);
  for (let b = 0; b < batch; b++)
    for (let c = 0; c < channels; c++)
      for (let i = 0; i < area; i++) result.data[(b * area + i) * channels + c] = data[(b * channels + c) * area + i]!;
  return result;
}

describe.each(enginesUnderTest)('on $name', ({ create, exactness }) => {
  const tolerance = exactness === 'cpu' ? 1e-4 : 1e-3;
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  describe.each(folders)('%s', (folder) => {
    const io = loadTensors(root, folder, 'io.safetensors');
    const weights = loadTensors(root, folder, 'diffusion_pytorch_model.safetensors');
    const get = (name: string): HostTensor => {
      const tensor = io[name];
      if (!tensor) throw new Error(`the fixture has no tensor "${name}"`);
      return tensor;
    };
    const codes = get('decode.in.codes');
    const [batch, rows, columns] = codes.shape as [number, number, number];
    const model = vqModel(loadJson<VqModelConfig>(root, folder, 'config.json'), { grid: [rows, columns] });

    const decode = async (tokens: HostTensor): Promise<HostTree> => {
      const fn: PureFunction = (state, inputs) => {
        const vectors = tf.gather(state['quantize.embedding.weight']!, tf.reshape(inputs['tokens']!, [-1]));
        const raw = model.decodeVectors(state, tf.reshape(vectors, [batch, rows, columns, -1]));
        return { outputs: { raw, images: model.decode(state, inputs['tokens'] as Tensor2D) } };
      };
      return runOnce(engine, fn, weights, { tokens: int32([batch, rows * columns], tokens.data) });
    };

    it('has exactly the parameters of the original', () => {
      const shapes = (tree: Record<string, { readonly shape: readonly number[] }>) =>
        Object.fromEntries(Object.entries(tree).map(([name, { shape }]) => [name, shape]));
      expect(shapes(model.parameters)).toEqual(shapes(weights));
    });

    // Names in the fixtures, and of the modules whose outputs they are.
    const modules: Record<string, string> = {
      conv_in: 'conv_in',
      mid: 'mid_block',
      norm_out: 'conv_norm_out',
      out: 'conv_out',
    };
    const moduleOf = (side: 'encoder' | 'decoder', name: string) =>
      name === 'post_quant_conv'
        ? name
        : `${side}.${modules[name] ?? name.replace(/^(down|up)(\d+)$/, '$1_blocks.$2')}`;

    it.each(['encoder', 'decoder'] as const)('has the intermediate results of the %s', async (side) => {
      const prefix = `dbg.${side.slice(0, 3)}.`;
      const names = Object.keys(io).flatMap((key) => (key.startsWith(prefix) ? [key.slice(prefix.length)] : []));
      expect(names.length).toBeGreaterThan(3);
      const fn: PureFunction = (state, inputs) => {
        const seen: Record<string, Tensor4D> = {};
        const observe = (name: string, activation: Tensor4D) => void (seen[name] = activation);
        if (side === 'encoder') model.encodeVectors(state, inputs['images'] as Tensor4D, observe);
        else {
          const vectors = tf.gather(state['quantize.embedding.weight']!, tf.reshape(inputs['tokens']!, [-1]));
          model.decodeVectors(state, tf.reshape(vectors, [batch, rows, columns, -1]), observe);
        }
        return { outputs: Object.fromEntries(names.map((name) => [name, seen[moduleOf(side, name)]!])) };
      };
      const result = await runOnce(engine, fn, weights, {
        images: channelsLast(get('encode.in.image')),
        tokens: int32([batch, rows * columns], codes.data),
      });
      for (const name of names)
        expect([name, maxDifference(result[name]!.data, channelsLast(get(prefix + name)).data)]).toEqual([
          name,
          expect.toSatisfy((difference: number) => difference < tolerance),
        ]);
    });

    it('encodes images', async () => {
      const fn: PureFunction = (state, inputs) => {
        const images = inputs['images'] as Tensor4D;
        return { outputs: { vectors: model.encodeVectors(state, images), tokens: model.encode(state, images) } };
      };
      const images = channelsLast(get('encode.in.image'));
      const { vectors, tokens } = await runOnce(engine, fn, weights, { images });
      expect(maxDifference(vectors!.data, channelsLast(get('encode.out.latents')).data)).toBeLessThan(tolerance);
      expect(Array.from(tokens!.data)).toEqual(Array.from(get('encode.out.codes').data));
    });

    it('decodes codes, raw and clipped to [0, 1]', async () => {
      const { raw, images } = await decode(codes);
      expect(maxDifference(raw!.data, channelsLast(get('decode.out.image_raw')).data)).toBeLessThan(tolerance);
      expect(maxDifference(images!.data, channelsLast(get('decode.out.image_clipped')).data)).toBeLessThan(tolerance);
    });

    it('decodes what it encoded', async () => {
      const { raw } = await decode(get('encode.out.codes'));
      expect(maxDifference(raw!.data, channelsLast(get('roundtrip.out.image_raw')).data)).toBeLessThan(tolerance);
    });
  });
});
