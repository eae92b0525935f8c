/**
 * Random numbers that are made when somebody reads them. They look like any other host tensor; an engine that can make
 * the same numbers on its device asks for the recipe instead, and nothing is drawn, kept or uploaded.
 */
import type { Tensor } from '@tensorflow/tfjs-core';
import { hasKernel, runKernel } from './dispatch.js';
import type { RandomStream, StreamKey } from '../random/random.js';
import { checkShape, float32, sizeOf, type HostTensor } from '../tensors/tensors.js';

/** What makes the numbers of a tensor: the first ones of a stream, each times a factor. */
export interface DrawRecipe {
  readonly kind: 'uniform' | 'normal';
  readonly key: StreamKey;
  /** Multiplies the float32 numbers in float64, before they are rounded again. */
  readonly factor: number;
}

const recipe = Symbol('recipe of random numbers');

/**
 * A float32 tensor of random numbers, drawn at the first reading of its `data`. A copy made by spreading is an ordinary
 * tensor.
 *
 * @param stream - one that nobody has taken numbers from, or will.
 * @param kind - uniform in [0, 1), or standard normal.
 */
export function drawnTensor(
  shape: readonly number[],
  stream: RandomStream,
  kind: DrawRecipe['kind'],
): HostTensor<'float32'> {
  checkShape('drawn tensor', shape);
  return lazyTensor(shape, { kind, key: stream.key, factor: 1 }, () => stream[kind](sizeOf(shape)));
}

function lazyTensor(shape: readonly number[], made: DrawRecipe, draw: () => Float32Array): HostTensor<'float32'> {
  let data: Float32Array | undefined;
  const tensor = {
    dtype: 'float32' as const,
    shape,
    get data(): Float32Array {
      return (data ??= draw());
    },
  };
  // Not enumerable: a copy with other data must not carry the recipe along.
  return Object.defineProperty(tensor, recipe, { value: made });
}

/** The recipe of a tensor made by `drawnTensor`, undefined for all others. */
export function drawRecipeOf(tensor: HostTensor): DrawRecipe | undefined {
  return (tensor as { readonly [recipe]?: DrawRecipe })[recipe];
}

/** The tensor times a number, computed in float64 and rounded. Stays drawn at the first reading if it was. */
export function scaledTensor(tensor: HostTensor<'float32'>, factor: number): HostTensor<'float32'> {
  if (factor === 1) return tensor;
  const scale = () => tensor.data.map((value) => value * factor);
  const made = drawRecipeOf(tensor);
  if (made?.factor === 1) return lazyTensor(tensor.shape, { ...made, factor }, scale);
  return float32(tensor.shape, scale());
}

/**
 * The tensor made on the device, if it has a recipe and the current tfjs backend the kernel `DimoRandomNumbers`.
 */
export function drawOnDevice(tensor: HostTensor): Tensor | undefined {
  const made = drawRecipeOf(tensor);
  if (!made || !hasKernel('DimoRandomNumbers')) return undefined;
  const { kind, key, factor } = made;
  const [seedLow, seedHigh] = key.seed;
  const { step, stream, rows = 1 } = key;
  const attributes = { kind, seedLow, seedHigh, step, stream, rows, factor, shape: [...tensor.shape] };
  return runKernel('DimoRandomNumbers', {}, attributes)[0];
}
