/** Size of the token embeddings, for noise that is relative to it. */
import type { HostTree } from '@dimo/core';
import { normEpsilon } from './layers.js';

/** Rows that are looked at: the mean over some hundred rows of some hundred channels is exact to a percent. */
const maximumRows = 256;

/** Root mean square of norm and 1 x 1 convolution of the embedding table's rows, of evenly spaced ones if there are many. */
export function tokenEmbeddingRms(weights: HostTree, width: number): number {
  const table = weights['embed.embeddings.weight']!.data;
  const scale = weights['embed.layer_norm.weight']!.data;
  const filter = weights['embed.conv.weight']!.data; // [out, in]
  const numRows = table.length / width;
  const count = Math.min(numRows, maximumRows);
  const row = new Float64Array(width);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const start = Math.floor((i * numRows) / count) * width;
    let squares = 0;
    for (let k = 0; k < width; k++) squares += table[start + k]! ** 2;
    const inverse = 1 / Math.sqrt(squares / width + normEpsilon);
    for (let k = 0; k < width; k++) row[k] = table[start + k]! * inverse * scale[k]!;
    for (let out = 0; out < width; out++) {
      let value = 0;
      for (let k = 0; k < width; k++) value += filter[out * width + k]! * row[k]!;
      sum += value * value;
    }
  }
  return Math.sqrt(sum / (count * width));
}
