/** Random numbers made on the device against the host's: equal bits, which the streams promise of every engine. */
import {
  drawnTensor,
  drawOnDevice,
  eagerEngine,
  normalsFromWords,
  randomStream,
  sampleStream,
  scaledTensor,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { float64Functions } from './float64.js';
import { runProgram, type Program } from './program.js';
import { boxMuller } from './random-numbers.js';
import { registerWebgpuKernels } from './register.js';
import { gpuTuning, softwareTuning } from './rows.js';
import { asWebgpuBackend } from './webgpu-backend.js';
import { gpuErrors, startTestAdapter } from '../test-support/adapter.js';

const unavailable = await startTestAdapter();

/** Bit patterns: -0 is not 0 here. */
const bitsOf = (values: Float32Array) => Array.from(new Uint32Array(values.buffer, values.byteOffset, values.length));

/** Makes normal numbers from given words. */
const fromWords: Program = {
  name: 'TestBoxMuller',
  workgroupSize: 64,
  outputs: [{ name: 'numbers', type: 'f32' }],
  inputs: [{ name: 'words', type: 'i32' }],
  code: () => `${float64Functions}${boxMuller}
fn run(group: u32, lane: u32) {
  let i = 2u * (group * workgroupSize + lane);
  if (i >= uniforms.size_numbers) { return; }
  let pair = boxMuller(bitcast<u32>(words[i]), bitcast<u32>(words[i + 1u]));
  numbers[i] = bitcast<f32>(bitsOfFloat32(toFloat32(pair.first)));
  numbers[i + 1u] = bitcast<f32>(bitsOfFloat32(toFloat32(pair.second)));
}`,
};

describe.skipIf(unavailable)(
  unavailable ? `random numbers, skipped: ${unavailable}` : 'random numbers on the device',
  { timeout: 300_000 },
  () => {
    beforeAll(() => registerWebgpuKernels({ tuning: gpuTuning }));

    it.each([
      ['uniform', 1],
      ['uniform', 0.3],
      ['normal', 1],
      ['normal', 0.0712345],
    ] as const)("%s, times %s, are the host's bit for bit", async (kind, factor) => {
      for (const [stream, shape] of [
        [randomStream(2 ** 40 + 5, 7, 'noise'), [3, 1001]],
        [randomStream(0xffffffff, 2 ** 32 - 1, 'noise'), [1]],
        [randomStream(1, 0, 'noise'), [0]],
        // Samples whose numbers end within a block, within a pair, and that share a workgroup or span several.
        [sampleStream(3, 11, 5, 'noise'), [5, 7]],
        [sampleStream(2 ** 33, 2 ** 32 - 4, 4, 'noise'), [4, 10, 130]],
        [sampleStream(3, 0, 300, 'noise'), [300]],
        [sampleStream(3, 0, 3, 'noise'), [3, 0]],
      ] as const) {
        const drawn = scaledTensor(drawnTensor(shape, stream, kind), factor);
        const tensor = drawOnDevice(drawn)!;
        expect(tensor.shape).toEqual(shape);
        expect(bitsOf((await tensor.data()) as Float32Array)).toEqual(bitsOf(drawn.data as Float32Array));
      }
      expect(gpuErrors()).toEqual([]);
    });

    it('words at the edges of the transform', async () => {
      // Powers of two, their neighbours, and angles at each quarter and eighth of a turn.
      const edges = [0, 0xffffffff, 0xb504f332, 0xb504f333, 0xb504f334, 0x5a827999, 0x5a82799a];
      for (let bit = 0; bit < 32; bit++) for (const near of [-2, -1, 0, 1]) edges.push((2 ** bit + near) >>> 0);
      for (let eighth = 0; eighth < 8; eighth++)
        for (const near of [-1, 0, 1]) edges.push((eighth * 2 ** 29 + near) >>> 0);
      const words = Uint32Array.from(edges.flatMap((a) => edges.map((b) => [a, b])).flat());
      const backend = asWebgpuBackend(tf.backend());
      const given = tf.tensor(new Int32Array(words.buffer), [words.length], 'int32');
      const [made] = runProgram(backend, fromWords, {
        inputs: [given],
        outputs: [{ shape: [words.length] }],
        numGroups: Math.ceil(words.length / 2 / 64),
      });
      const numbers = (await tf.engine().makeTensorFromTensorInfo(made!).data()) as Float32Array;
      expect(bitsOf(numbers)).toEqual(bitsOf(normalsFromWords(words, words.length)));
    });

    it('are inputs of the engine like any others', async () => {
      const engine = eagerEngine('webgpu');
      expect(engine.makesRandomNumbers).toBe(true);
      const inputs = { noise: drawnTensor([2, 3], randomStream(4, 2, 'noise'), 'normal') };
      const state = await engine.upload({});
      const compiled = await engine.compile((_, { noise }) => ({ outputs: { doubled: tf.mul(noise!, 2) } }), {
        state: {},
        inputs: { noise: { dtype: 'float32', shape: [2, 3] } },
      });
      const onDevice = await compiled.run(state, inputs);
      registerWebgpuKernels({ tuning: softwareTuning });
      expect(engine.makesRandomNumbers).toBe(false);
      expect(await compiled.run(state, inputs)).toEqual(onDevice);
      await engine.dispose();
    });
  },
);
