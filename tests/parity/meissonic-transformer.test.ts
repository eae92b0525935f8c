/**
 * Meissonic's transformer against the official PyTorch modules (fixtures/meissonic/README.md, sections 2 and 9): sinusoids,
 * rotations, intermediate tensors, logits and gradients. Tolerances are the README's: PyTorch's own float32 is 6e-6 from
 * float64.
 */
import {
  forwardPass,
  subtree,
  withPrefix,
  type Engine,
  type HostTensor,
  type HostTree,
  type PureFunction,
} from '@dimo/core';
import { embedTimesteps, rotaryTables } from '@dimo/teacher-meissonic';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { enginesUnderTest } from './engines.js';
import { fixtures, foldersWith, loadTensors, maxDifference } from './fixtures.js';
import {
  channelsLast,
  conditionOf,
  fixtureTransformer,
  tensor,
  tokensOf,
  transformerWeights,
} from './meissonic-fixtures.js';
import { runOnce } from './run-once.js';

const folders = foldersWith('meissonic', 'config.json').filter((folder) => folder.startsWith('transformer'));

/** abs + rel * |expected|. */
const tolerances = { cpu: 1e-4, gpu: 1e-3 } as const;

/** Modules of the fixtures' `dbg.*` tensors. */
function moduleOf(name: string, last: { joint: number; single: number }): string {
  const blocks: Record<string, string> = {
    joint0: 'transformer_blocks.0',
    joint_last: `transformer_blocks.${last.joint}`,
    single0: 'single_transformer_blocks.0',
    single_last: `single_transformer_blocks.${last.single}`,
  };
  const parts: Record<string, string> = {
    attn_img: 'attn.to_out.0',
    attn_txt: 'attn.to_add_out',
    img: 'image',
    txt: 'text',
  };
  const plain: Record<string, string> = {
    temb: 'time_text_embed',
    embed_norm: 'embed.layer_norm',
    context_norm: 'encoder_proj_layer_norm',
    mlm_conv1: 'mlm_layer.conv1',
    mlm_norm: 'mlm_layer.layer_norm',
  };
  const [head, part] = name.split('.') as [string, string | undefined];
  const block = blocks[head];
  if (!block) return plain[name] ?? name;
  return part === undefined ? block : `${block}.${parts[part] ?? part}`;
}

/** Largest excess over abs + rel * |expected|, as a factor of it: at most 1 passes. */
function worstRatio(actual: HostTensor, expected: HostTensor, tolerance: number): number {
  if (actual.data.length !== expected.data.length) return Infinity;
  let worst = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const ratio = Math.abs(actual.data[i]! - expected.data[i]!) / (tolerance + tolerance * Math.abs(expected.data[i]!));
    if (!(ratio <= worst)) worst = Number.isNaN(ratio) ? Infinity : ratio;
  }
  return worst;
}

it('finds fixtures', () => expect(folders.length).toBeGreaterThan(0));

describe.each(folders)('%s', (folder) => {
  const io = loadTensors('meissonic', folder, 'io.safetensors');
  const weights = transformerWeights(folder);
  const codes = tensor<'int32'>(io, 'in.hidden_states');
  const textStates = tensor(io, 'in.encoder_hidden_states');
  const [batch, rows, columns] = codes.shape as [number, number, number];
  const model = fixtureTransformer([folder], { grid: [rows, columns], textLength: textStates.shape[1]! });
  const { jointBlocks, singleBlocks } = model.config;
  const cases = Object.keys(io).flatMap((key) => /^(.+)\.out\.logits$/.exec(key)?.[1] ?? []);

  /** Sinusoids that the original computed, so that the network alone is compared. */
  function timeProjection(name: string): HostTensor {
    const recorded = io[`${name}.dbg.time_proj`] ?? tensor(io, 'dbg.time_proj');
    const perSample = new Float32Array(batch * 256);
    for (let b = 0; b < batch; b++)
      perSample.set(recorded.data.subarray((b % recorded.shape[0]!) * 256).subarray(0, 256), b * 256);
    return { dtype: 'float32', shape: [batch, 256], data: perSample };
  }

  function inputsOf(name: string): HostTree {
    const noise = io[`${name}.in.noise`];
    return {
      tokens: tokensOf(codes),
      ...withPrefix(
        'condition',
        conditionOf(textStates, tensor(io, 'in.pooled_projections'), tensor(io, 'in.micro_conds').data),
      ),
      'time/timestep': timeProjection(name),
      ...(noise
        ? {
            noise: channelsLast(noise),
            scale: { dtype: 'float32', shape: [], data: Float32Array.of(Number(name.slice('noise'.length))) },
          }
        : {}),
    };
  }

  const modelInputs = (inputs: Record<string, tf.Tensor>) => ({
    tokens: inputs['tokens'] as Tensor2D,
    condition: subtree('condition', inputs),
    time: subtree('time', inputs),
    ...(inputs['noise']
      ? { embeddingNoise: { noise: inputs['noise'] as Tensor3D, scale: inputs['scale'] as Scalar } }
      : {}),
  });

  it('has the parameters of the original', () => {
    const shapes = (tree: Record<string, { readonly shape: readonly number[] }>) =>
      Object.fromEntries(Object.entries(tree).map(([name, { shape }]) => [name, [...shape]]));
    expect(shapes(model.parameters)).toEqual(shapes(weights));
  });

  it('rotates by the angles of the original', () => {
    const { cosines, sines } = rotaryTables(model.config);
    const repeated = ({ data }: HostTensor) => Float32Array.from({ length: 2 * data.length }, (_, i) => data[i >> 1]!);
    expect(maxDifference(repeated(cosines), tensor(io, 'dbg.rope_cos').data)).toBeLessThan(1e-6);
    expect(maxDifference(repeated(sines), tensor(io, 'dbg.rope_sin').data)).toBeLessThan(1e-6);
  });

  it.each(cases.filter((name) => io[`${name}.in.timestep`]))('has the sinusoids of case %s', (name) => {
    const timesteps = Array.from(tensor(io, `${name}.in.timestep`).data);
    // One unit in the last place of a frequency moves the angle 1000 t f by up to 1000 t 2^-24.
    const limit = 1e-6 + 1000 * Math.max(...timesteps) * 2 ** -24;
    const { data } = embedTimesteps(timesteps);
    expect(maxDifference(data, tensor(io, `${name}.dbg.time_proj`).data)).toBeLessThan(limit);
  });

  describe.each(enginesUnderTest)('on $name', ({ create, exactness }) => {
    const tolerance = tolerances[exactness];
    let engine: Engine;
    beforeAll(async () => {
      engine = await create();
    });
    afterAll(() => engine.dispose());

    it.each(cases)('computes the logits of case %s', async (name) => {
      const fn: PureFunction = (state, inputs) => ({
        outputs: { logits: forwardPass(model, state, modelInputs(inputs)) },
      });
      const { logits } = await runOnce(engine, fn, weights, inputsOf(name));
      expect(worstRatio(logits!, channelsLast(tensor(io, `${name}.out.logits`)), tolerance)).toBeLessThanOrEqual(1);
    });

    it('computes every recorded intermediate tensor of case t0', async () => {
      const fn: PureFunction = (state, inputs) => ({ outputs: model.activations(state, modelInputs(inputs)) });
      const activations = await runOnce(engine, fn, weights, inputsOf('t0'));
      const names = Object.keys(io).flatMap((key) => /^dbg\.(?!rope|time_proj)(.+)$/.exec(key)?.[1] ?? []);
      expect(names.length).toBeGreaterThan(20);
      for (const name of names) {
        const recorded = tensor(io, `dbg.${name}`);
        const isImage = ['embed', 'down_block', 'up_block', 'mlm_conv1'].includes(name);
        const module = moduleOf(name, { joint: jointBlocks - 1, single: singleBlocks - 1 });
        // Without resampling these blocks are the identity, and have no activation.
        if (!model.config.downsample && (name === 'down_block' || name === 'up_block')) continue;
        const expected = isImage ? channelsLast(recorded) : recorded;
        expect(worstRatio(tensor(activations, module), expected, tolerance), name).toBeLessThanOrEqual(1);
      }
    });

    it.runIf(existsSync(join(fixtures, 'meissonic', folder, 'grads.safetensors')))(
      'computes the gradient of every parameter',
      async () => {
        const names = Object.keys(weights);
        const fn: PureFunction = (state, inputs) => {
          const { value, grads } = tf.valueAndGrads((...values) => {
            const tree = Object.fromEntries(names.map((name, i) => [name, values[i]!]));
            return tf.sum(tf.mul(forwardPass(model, tree, modelInputs(inputs)), inputs['upstream']!));
          })(names.map((name) => state[name]!));
          return { outputs: { value, ...Object.fromEntries(names.map((name, i) => [name, grads[i]!])) } };
        };
        const results = await runOnce(engine, fn, weights, {
          ...inputsOf('t0'),
          upstream: channelsLast(tensor(io, 'grad.in.weight')),
        });
        const loss = tensor(io, 'grad.out.loss').data[0]!;
        expect(Math.abs(results['value']!.data[0]! - loss)).toBeLessThan(1e-5 * Math.abs(loss) + 1e-4);
        const gradients = loadTensors('meissonic', folder, 'grads.safetensors');
        for (const [name, expected] of Object.entries(gradients)) {
          const largest = Math.max(...Array.from(expected.data, Math.abs));
          expect(maxDifference(tensor(results, name).data, expected.data) / largest, name).toBeLessThan(tolerance);
        }
      },
    );
  });
});
