/**
 * Logits of the MaskGIT transformer against the PyTorch original (fixtures made on CPU in float32). Tolerance 4e-5:
 * PyTorch's own float32 is 6e-6 from float64, a block LayerNorm with the outer epsilon is 6e-5 off.
 */
import {
  forwardPass,
  guidedLogits,
  int32,
  readSafetensors,
  scalar,
  subtree,
  writeSafetensors,
  type Engine,
  type HostTensor,
  type HostTree,
  type PureFunction,
} from '@dimo/core';
import { maskTransformer } from '@dimo/teacher-maskgit';
import type { Scalar, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  engines,
  get,
  largestError,
  readTensors,
  reshaped,
  transformerConfig,
  transformerFolders,
} from './maskgit-fixtures.js';
import { runOnce } from './run-once.js';

const tolerance = 4e-5;

it('finds fixtures', () => expect(transformerFolders.length).toBeGreaterThan(0));

describe.each(engines)('on $name', ({ create }) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await create();
  });
  afterAll(() => engine.dispose());

  describe.each(transformerFolders)('%s', (folder) => {
    const config = transformerConfig(folder);
    const model = maskTransformer(config);
    const io = readTensors(folder, 'io.safetensors');
    const weights = readTensors(folder, 'model.safetensors');
    const length = model.tokenSpace.grid[0] * model.tokenSpace.grid[1];

    function inputsOf(name: string): HostTree {
      const tokens = get(io, `${name}.tokens`);
      const batch = tokens.shape[0]!;
      const dropped = io[`${name}.drop_label`];
      const labels = Array.from(get(io, `${name}.labels`).data, (label, i) =>
        dropped?.data[i] ? config.numClasses : label,
      );
      const perturbation = /^noise(?:drop)?([\d.]+)$/.exec(name);
      return {
        tokens: int32([batch, length], tokens.data),
        'condition/label': int32([batch], labels),
        ...(perturbation ? { noise: get(io, `${name}.noise`), scale: scalar(Number(perturbation[1])) } : {}),
      };
    }

    const logits: PureFunction = (state, inputs) => {
      const { tokens, noise, scale } = inputs;
      return {
        outputs: {
          logits: forwardPass(model, state, {
            tokens: tokens as Tensor2D,
            condition: subtree('condition', inputs),
            ...(noise ? { embeddingNoise: { noise: noise as Tensor3D, scale: scale as Scalar } } : {}),
          }),
        },
      };
    };

    const names = Object.keys(io).flatMap((key) => (key.endsWith('.tokens') ? [key.slice(0, -'.tokens'.length)] : []));

    it.each(names)('computes the logits of case %s', async (name) => {
      const result = await runOnce(engine, logits, weights, inputsOf(name));
      expect(largestError(result['logits']!, get(io, `${name}.logits`))).toBeLessThan(tolerance);
    });

    const guided = Object.keys(io).flatMap((key) => /^(cfg.*)\.logits$/.exec(key)?.[1] ?? []);
    it.runIf(guided.length > 0).each(guided)('computes the guided logits of case %s', async (name) => {
      const inputs = inputsOf('plain');
      const batch = inputs['tokens']!.shape[0]!;
      const vector = io[`${name}.scale`];
      const constant = new Float32Array(batch).fill(Number(name.slice(3)));
      const scale: HostTensor = vector ?? { dtype: 'float32', shape: [batch], data: constant };
      const fn: PureFunction = (state, values) => ({
        outputs: {
          logits: guidedLogits(
            model,
            state,
            { tokens: values['tokens'] as Tensor2D, condition: subtree('condition', values) },
            { nullCondition: subtree('nullCondition', values), scale: values['scale'] as Tensor1D },
          ),
        },
      });
      const result = await runOnce(engine, fn, weights, {
        ...inputs,
        'nullCondition/label': int32([1], [config.numClasses]),
        scale: reshaped(scale, [batch]),
      });
      expect(largestError(result['logits']!, get(io, `${name}.logits`))).toBeLessThan(tolerance);
    });

    const halves = (['F16', 'BF16'] as const).filter((float) => io[`plain.logits_${halfName(float)}_weights`]);
    it.runIf(halves.length > 0).each(halves)('computes the logits with weights stored as %s', async (float) => {
      const rounded = readSafetensors(writeSafetensors(weights, { float })).tensors;
      const result = await runOnce(engine, logits, rounded, inputsOf('plain'));
      const expected = get(io, `plain.logits_${halfName(float)}_weights`);
      expect(largestError(result['logits']!, expected)).toBeLessThan(tolerance);
    });
  });
});

function halfName(float: 'F16' | 'BF16'): string {
  return float === 'F16' ? 'fp16' : 'bf16';
}
