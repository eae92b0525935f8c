/**
 * CLIP text encoder against transformers' CLIPTextModelWithProjection (fixtures made on CPU in float32). Tolerance as
 * the fixtures' description suggests: 2e-5 + 1e-4 relative on a CPU, 1e-3 on a GPU.
 */
import type { Engine, HostTensor, PureFunction } from '@dimo/core';
import { clipTextEncoder, type ClipTextConfig } from '@dimo/teacher-meissonic';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enginesUnderTest } from './engines.js';
import { foldersWith, loadJson, loadTensors } from './fixtures.js';
import { runOnce } from './run-once.js';

const folders = foldersWith('clip', 'io.safetensors');

it('finds fixtures', () => expect(folders.length).toBeGreaterThan(0));

/** Largest difference in units of the tolerance. */
function excess(actual: HostTensor, expected: HostTensor, exactness: 'cpu' | 'gpu'): number {
  const [absolute, relative] = exactness === 'cpu' ? [2e-5, 1e-4] : [1e-3, 1e-3];
  expect(actual.shape).toEqual(expected.shape);
  let worst = 0;
  expected.data.forEach((value, index) => {
    const units = Math.abs(actual.data[index]! - value) / (absolute + relative * Math.abs(value));
    if (!(units <= worst)) worst = Number.isNaN(units) ? Infinity : units;
  });
  return worst;
}

/** The first rows and positions of [rows, length, width]. */
function beginning({ shape, data }: HostTensor, [rows, length]: readonly [number, number]): HostTensor {
  const [, fullLength, width] = shape as [number, number, number];
  const part = new Float32Array(rows * length * width);
  for (let row = 0; row < rows; row++) {
    const from = row * fullLength * width;
    part.set((data as Float32Array).subarray(from, from + length * width), row * length * width);
  }
  return { dtype: 'float32', shape: [rows, length, width], data: part };
}

describe.each(enginesUnderTest)('on $name', ({ create, exactness }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  describe.each(folders)('%s', (folder) => {
    const encoder = clipTextEncoder(loadJson<ClipTextConfig>('clip', folder, 'config.json'));
    const weights = loadTensors('clip', folder, 'model.safetensors');
    const io = loadTensors('clip', folder, 'io.safetensors');

    it('has exactly the parameters of the original', () => {
      const shapes = (tree: Record<string, { readonly shape: readonly number[] }>) =>
        Object.fromEntries(Object.entries(tree).map(([name, { shape }]) => [name, shape]));
      expect(shapes(encoder.parameters)).toEqual(shapes(weights));
    });

    it('encodes texts', async () => {
      const states = Object.keys(io).flatMap((key) => /^dbg\.(hidden_states\.\d+)$/.exec(key)?.[1] ?? []);
      expect(states.length).toBeGreaterThan(0);
      const fn: PureFunction = (state, inputs) => {
        const seen: Record<string, Tensor> = {};
        const { textStates, pooledText } = encoder.encode(state, inputs['tokens'] as Tensor2D, (name, activation) => {
          seen[name] = activation;
        });
        return { outputs: { ...seen, textStates, pooledText } };
      };
      const result = await runOnce(engine, fn, weights, { tokens: io['in.input_ids']! });
      const check = (name: string, actual: HostTensor, expected: string) =>
        expect([name, excess(actual, io[expected]!, exactness)]).toEqual([
          name,
          expect.toSatisfy((units: number) => units < 1),
        ]);
      check('textStates', result['textStates']!, 'out.encoder_hidden_states');
      check('pooledText', result['pooledText']!, 'out.text_embeds');
      check('last_hidden_state', result['last_hidden_state']!, 'out.last_hidden_state');
      for (const name of states) {
        const expected = io[`dbg.${name}`]!;
        check(name, beginning(result[name]!, expected.shape as [number, number]), `dbg.${name}`);
      }
    });

    it('gives the same without observing', async () => {
      const fn: PureFunction = (state, inputs) => ({
        outputs: { ...encoder.encode(state, inputs['tokens'] as Tensor2D) },
      });
      const result = await runOnce(engine, fn, weights, { tokens: io['in.input_ids']! });
      expect(excess(result['textStates']!, io['out.encoder_hidden_states']!, exactness)).toBeLessThan(1);
      expect(excess(result['pooledText']!, io['out.text_embeds']!, exactness)).toBeLessThan(1);
    });
  });
});
