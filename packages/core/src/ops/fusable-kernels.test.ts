/** What does not fit the table of kernels does not compile: each line that is expected to fail is checked by `tsc`. */
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { runFusable } from './dispatch.js';
import type { FusableInputs, FusableKernelName, FusableOutputs } from './fusable-kernels.js';

describe('the table of fusable kernels', () => {
  it('types names, inputs, attributes and results', async () => {
    await tf.setBackend('cpu');
    const x = tf.tensor1d([1, 2]);
    const calls = [
      () => runFusable('DimoGelu', { x }, { approximate: 'none' }, () => [x]),
      // @ts-expect-error a misspelt kernel
      () => runFusable('DimoGelo', { x }, { approximate: 'none' }, () => [x]),
      // @ts-expect-error a misspelt input
      () => runFusable('DimoGelu', { y: x }, { approximate: 'none' }, () => [x]),
      // @ts-expect-error an input too few
      () => runFusable('DimoGeluGrad', { x }, { approximate: 'none' }, () => [x]),
      // @ts-expect-error a misspelt attribute
      () => runFusable('DimoGelu', { x }, { approximated: 'none' }, () => [x]),
      // @ts-expect-error a value that the attribute does not take
      () => runFusable('DimoGelu', { x }, { approximate: 'exact' }, () => [x]),
      // @ts-expect-error an attribute of a kernel that has none
      () => runFusable('DimoSampleCategorical', { logits: x, uniforms: x }, { temperature: 1 }, () => [x]),
      // @ts-expect-error a result too many
      () => runFusable('DimoGelu', { x }, { approximate: 'none' }, () => [x, x]),
    ];
    // No backend of this package has kernels: every call is its composition's.
    for (const call of calls) expect((call() as readonly Tensor[])[0]).toBe(x);
  });

  it('numbers the tensors of a kernel that takes many, and lets optional ones be absent', () => {
    const tensor = tf.scalar(1);
    const norm: FusableInputs<'DimoGlobalNorm', Tensor> = { 0: tensor, 1: tensor };
    const linear: FusableInputs<'DimoLinear', Tensor> = { x: tensor, weight: tensor };
    // @ts-expect-error not a number
    const misnamed: FusableInputs<'DimoGlobalNorm', Tensor> = { first: tensor };
    // @ts-expect-error a misspelt part of a parameter
    const adam: Partial<FusableInputs<'DimoAdamUpdate', Tensor>> = { 'moment/0': tensor };
    // @ts-expect-error one tensor of four
    const outputs: FusableOutputs<'DimoTokenDivergence', Tensor> = [tensor];
    expect([norm, linear, misnamed, adam, outputs].map((value) => Object.keys(value).length)).toEqual([2, 2, 1, 1, 1]);
  });

  it('makes an engine speak of every kernel', () => {
    type Engine = { readonly [Name in FusableKernelName]: 'kernel' | 'composition' };
    // @ts-expect-error all the others are missing
    const engine: Engine = { DimoGelu: 'kernel' };
    expect(engine.DimoGelu).toBe('kernel');
  });
});
