/** Group normalization. */
import { sizeOf } from '@dimo/core';
import { float } from '../graph.js';
import { materialize, reshapeValue, splat, type LazyTensor } from '../lazy.js';
import { channelsFirst, channelsLast } from './conv.js';
import type { FusableLowering } from './kernel.js';

/**
 * Two passes of standard operators, each of which writes once: the statistics of a group are those of an instance whose
 * channels are the groups, and an affine map of the channels is a batch normalization with mean 0 and variance 1.
 * (onnxruntime has GroupNormalization of operator set 21 as a function only, of seven passes.)
 */
export const groupNorm: FusableLowering<'DimoGroupNorm', LazyTensor> = (builder, { x, scale, offset }, attributes) => {
  const { numGroups, epsilon } = attributes;
  const type = 'float32' as const;
  const image = channelsFirst(builder, x);
  const [batch, channels] = image.shape as [number, number];
  const vector = (length: number, value: number) => materialize(builder, splat(type, [length], value));
  const groups = [batch, numGroups, batch === 0 ? 0 : sizeOf(image.shape) / batch / numGroups];
  const normalized = builder.node(
    'InstanceNormalization',
    [reshapeValue(builder, image, groups), vector(numGroups, 1), vector(numGroups, 0)],
    { type, shape: groups },
    { attributes: { epsilon: float(epsilon) } },
  );
  const y = builder.node(
    'BatchNormalization',
    [
      reshapeValue(builder, normalized, image.shape),
      materialize(builder, scale),
      materialize(builder, offset),
      vector(channels, 0),
      vector(channels, 1),
    ],
    { type, shape: image.shape },
    { attributes: { epsilon: float(0) } },
  );
  return [channelsLast(builder, y)];
};
