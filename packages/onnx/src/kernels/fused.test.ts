import {
  attention,
  embedding,
  gelu,
  groupNormalization,
  layerNorm,
  linear,
  rmsNorm,
  rotaryEmbedding,
  sampleCategorical,
} from '@dimo/core';
import type * as tf from '@tensorflow/tfjs-core';
import { describe, it } from 'vitest';
import { expectTracedEqualsEager, gradientsOf, numbers, wholeNumbers } from '../test-support/oracle.js';

describe('fusable ops: traced equals eager, forward and gradient', () => {
  const x = numbers([3, 5, 8], 1);
  it('linear', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => linear(t['x']!, t['w']!, t['b']!), ['x', 'w', 'b']),
      { x, w: numbers([6, 8], 2), b: numbers([6], 3) },
    ));
  it('layerNorm', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => layerNorm(t['x']!, t['s']!, t['o']!, { epsilon: 1e-12 }), ['x', 's', 'o']),
      { x, s: numbers([8], 2), o: numbers([8], 3) },
    ));
  // Value and gradient are lowered in two ways: the fused operators serve where no gradient is recorded.
  const normalizeGroups = (t: tf.NamedTensorMap) =>
    groupNormalization(t['x'] as tf.Tensor4D, t['s']!, t['o']!, { numGroups: 4, epsilon: 1e-6 });
  const image = { x: numbers([2, 5, 6, 8], 1, 3), s: numbers([8], 2), o: numbers([8], 3) };
  it('groupNormalization', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: normalizeGroups(t) } }), image, {
      trace: { operators: 'standard' },
    }));
  it('groupNormalization gradient', () =>
    expectTracedEqualsEager(gradientsOf(normalizeGroups, ['x', 's', 'o']), image));
  it.each(['microsoft', 'standard'] as const)('rmsNorm, %s operators', (operators) =>
    expectTracedEqualsEager(
      gradientsOf((t) => rmsNorm(t['x']!, t['s']!, { epsilon: 1e-6 }), ['x', 's']),
      { x, s: numbers([8], 2) },
      { trace: { operators } },
    ),
  );
  it.each(['microsoft', 'standard'] as const)('rotaryEmbedding, %s operators', (operators) =>
    expectTracedEqualsEager(
      gradientsOf(
        (t) =>
          rotaryEmbedding(t['x'] as tf.Tensor3D, { cosines: t['c'] as tf.Tensor2D, sines: t['s'] as tf.Tensor2D }, 2),
        ['x'],
      ),
      { x: numbers([3, 5, 16], 1), c: numbers([5, 4], 2), s: numbers([5, 4], 3) },
      { trace: { operators } },
    ),
  );
  it.each(['none', 'tanh'] as const)('gelu %s', (approximate) =>
    expectTracedEqualsEager(
      gradientsOf((t) => gelu(t['x']!, { approximate }), ['x']),
      { x: numbers([3, 5, 8], 1, 4) },
    ),
  );
  const attend = (t: tf.NamedTensorMap) =>
    attention(t['q'] as tf.Tensor3D, t['k'] as tf.Tensor3D, t['v'] as tf.Tensor3D, { numHeads: 2 });
  const qkv = { q: numbers([3, 5, 8], 4, 3), k: numbers([3, 7, 8], 5, 3), v: numbers([3, 7, 8], 6) };
  it('attention forward', () => expectTracedEqualsEager((_, t) => ({ outputs: { y: attend(t) } }), qkv));
  // Scores of order 10, and values that differ from position to position: a leak of later positions would show.
  const attendCausally = (t: tf.NamedTensorMap) =>
    attention(t['q'] as tf.Tensor3D, t['k'] as tf.Tensor3D, t['v'] as tf.Tensor3D, { numHeads: 2, causal: true });
  const squareInputs = { q: numbers([3, 7, 8], 4, 3), k: numbers([3, 7, 8], 5, 3), v: numbers([3, 7, 8], 6) };
  it('causal attention forward', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: attendCausally(t) } }), squareInputs));
  it('causal attention forward, standard operators', () =>
    expectTracedEqualsEager((_, t) => ({ outputs: { y: attendCausally(t) } }), squareInputs, {
      trace: { operators: 'standard' },
    }));
  it('causal attention gradient', () =>
    expectTracedEqualsEager(gradientsOf(attendCausally, ['q', 'k', 'v']), squareInputs));
  it('attention gradient', () => expectTracedEqualsEager(gradientsOf(attend, ['q', 'k', 'v']), qkv));
  it('embedding', () =>
    expectTracedEqualsEager(
      gradientsOf((t) => embedding(t['table']!, t['ids']!), ['table']),
      { table: numbers([9, 4]), ids: wholeNumbers([3, 5], 9) },
    ));
  it('sampleCategorical', () =>
    expectTracedEqualsEager(
      (_, t) => ({ outputs: { y: sampleCategorical(t['logits'] as tf.Tensor3D, t['u'] as tf.Tensor2D) } }),
      {
        logits: numbers([2, 5, 11], 1, 3),
        u: { ...numbers([2, 5], 2), data: numbers([2, 5], 2).data.map((value) => (value + 1) / 2) },
      },
    ));
});
