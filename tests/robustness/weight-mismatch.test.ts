/** Row A8: weights that do not fit the model. */
import { bool, checkWeights, float32, int32, WeightError, type HostTree, type SpecTree } from '@dimo/core';
import { describe, expect, it } from 'vitest';

describe('A8: weights of another shape', () => {
  const parameters: SpecTree = {
    'tok_emb.weight': { dtype: 'float32', shape: [26, 8] },
    'layers.0.weight': { dtype: 'float32', shape: [8, 8] },
    'layers.0.bias': { dtype: 'float32', shape: [8] },
    'layers.0.mask': { dtype: 'bool', shape: [4] },
  };
  const large: SpecTree = {
    'tok_emb.weight': { dtype: 'float32', shape: [26, 16] },
    'layers.0.weight': { dtype: 'float32', shape: [16, 16] },
    'layers.0.bias': { dtype: 'float32', shape: [16] },
    'layers.0.mask': { dtype: 'bool', shape: [4] },
  };
  const candidates = [
    { name: 'tiny', parameters },
    { name: 'large', parameters: large },
  ];
  const good: HostTree = {
    'tok_emb.weight': float32([26, 8]),
    'layers.0.weight': float32([8, 8]),
    'layers.0.bias': float32([8]),
    'layers.0.mask': bool([4]),
  };
  const treeOf = (specs: SpecTree): HostTree =>
    Object.fromEntries(
      Object.entries(specs).map(([name, { dtype, shape }]) => [name, dtype === 'bool' ? bool(shape) : float32(shape)]),
    );
  const without = (name: string): HostTree => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name));
  const prefixed = (prefix: string): HostTree =>
    Object.fromEntries(Object.entries(good).map(([name, tensor]) => [prefix + name, tensor]));
  const message = (tree: HostTree): string => {
    try {
      checkWeights(tree, parameters, { model: 'tiny', candidates });
    } catch (error) {
      if (error instanceof WeightError) return `${error.message}\n${error.hint ?? 'no hint'}`;
      throw error;
    }
    throw new Error('expected an error');
  };

  it('pass if they fit', () => {
    expect(() => checkWeights(good, parameters, { model: 'tiny', candidates })).not.toThrow();
  });

  it.each([
    ['missing', without('layers.0.bias')],
    ['extra', { ...good, 'layers.1.bias': float32([8]) }],
    ['misspelt', { ...without('layers.0.bias'), 'layers.0.bais': float32([8]) }],
    ['wrong shape', { ...good, 'layers.0.weight': float32([4, 8]) }],
    ['transposed', { ...good, 'tok_emb.weight': float32([8, 26]) }],
    ['wrong rank', { ...good, 'layers.0.bias': float32([1, 8]) }],
    ['wrong dtype', { ...good, 'layers.0.bias': int32([8]) }],
    ['another size', treeOf(large)],
    ['nearly another size', { ...treeOf(large), 'layers.0.bias': float32([4]) }],
    ['with a prefix', prefixed('module.')],
    ['of another kind', { 'unet.conv_in.weight': float32([1]), 'vae.x': int32([2]) }],
    ['none', {}],
    [
      'twenty at once',
      {
        ...good,
        ...Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`x.${String(i).padStart(2, '0')}`, float32([i])])),
      },
    ],
  ])('are described: %s', (_fault, tree) => {
    expect(message(tree)).toMatchSnapshot();
  });
});
