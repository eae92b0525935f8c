/** A random feature network as an ONNX file, and pictures that follow from a hash: those of fixtures/feature-metrics/make.py. */
import { embedding, float32, specsOf, type PureFunction } from '@dimo/core';
import { exportForward } from '@dimo/onnx';
import * as tf from '@tensorflow/tfjs-core';
import { encode } from 'fast-png';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';

const [side, width, classes] = [8, 12, 5];

/** An integer mixer. */
function hashed(index: number): number {
  let x = index >>> 0;
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  return (x ^ (x >>> 15)) >>> 0;
}

function weights(start: number, shape: readonly number[], scale: number) {
  const count = shape.reduce((a, b) => a * b, 1);
  return float32(
    shape,
    Float32Array.from({ length: count }, (_, i) => (hashed(start + i) / 2 ** 32 - 0.5) * scale),
  );
}

/** Pixels of a picture, [height, width, 3]. @param kind - 0 real, 1 generated. */
export function picture(index: number, [height, width]: readonly [number, number], kind: number): Uint8Array {
  return Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const [c, x, y] = [i % 3, Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const noise = hashed(100_000 * kind + 5000 * index + i) % 64;
    const base = hashed(900_000 + 1000 * kind + 10 * index + c) % 128;
    return noise + base + (index % 2 ? 2 * x + y : y);
  });
}

/** Writes pictures as PNG files. */
export async function writePictures(
  folder: string,
  count: number,
  { size, kind }: { readonly size: readonly [number, number]; readonly kind: number },
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (let i = 0; i < count; i++) {
    const png = encode({ width: size[1], height: size[0], data: picture(i, size, kind), channels: 3, depth: 8 });
    await writeFile(path.join(folder, `${String(i).padStart(4, '0')}.png`), png);
  }
}

const state = {
  projection: weights(2_000_000, [side * side * 3, width], 1),
  classifier: weights(3_000_000, [width, classes], 4),
};

const network: PureFunction = (tensors, { images }) => {
  const flat = tf.reshape(images!, [images!.shape[0]!, side * side * 3]);
  const pool3 = tf.relu(tf.matMul(flat as tf.Tensor2D, tensors['projection'] as tf.Tensor2D)) as tf.Tensor2D;
  return {
    outputs: {
      pool3,
      logits: tf.matMul(pool3, tensors['classifier'] as tf.Tensor2D),
      map: tf.relu(images!),
    },
  };
};

/** What describes the network. */
export const description = {
  name: 'random',
  size: [side, side],
  layout: 'nhwc',
  range: [-1, 1],
  features: 'pool3',
  logits: 'logits',
  spatial: 'map',
  spatialChannels: 2,
};

/** Writes `NAME.onnx` and, beside it, `NAME.json`. */
export async function writeNetwork(folder: string, name: string, changes: object = {}): Promise<string> {
  await mkdir(folder, { recursive: true });
  const { model } = exportForward({
    fn: network,
    weights: state,
    signature: (batch) => ({
      state: specsOf(state),
      inputs: { images: { dtype: 'float32', shape: [batch, side, side, 3] } },
    }),
  });
  const file = path.join(folder, `${name}.onnx`);
  await writeFile(file, model);
  await writeFile(path.join(folder, `${name}.json`), JSON.stringify({ ...description, ...changes }));
  return file;
}

const letters = weights(4_000_000, [6, width], 1);

/** What the text network makes of tokens: the sum of their vectors up to the end. */
export function textFeatures(tokens: readonly number[]): number[] {
  return Array.from({ length: width }, (_, d) =>
    tokens.reduce((sum, token) => sum + letters.data[token * width + d]!, 0),
  );
}

/** Writes `text.onnx` and the files of a tokenizer that knows `a` and `b`. */
export async function writeTextNetwork(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  const fn: PureFunction = (tensors, { input_ids: ids, attention_mask: mask }) => {
    const vectors = embedding<tf.Tensor3D>(tensors['letters']!, ids!);
    const counted = tf.mul(vectors, tf.expandDims(tf.cast(mask!, 'float32'), 2));
    return { outputs: { text_embeds: tf.sum(counted, 1) } };
  };
  const { model } = exportForward({
    fn,
    weights: { letters },
    signature: (batch) => ({
      state: specsOf({ letters }),
      inputs: {
        input_ids: { dtype: 'int32', shape: [batch, 77] },
        attention_mask: { dtype: 'int32', shape: [batch, 77] },
      },
    }),
  });
  const vocabulary = ['a', 'b', 'a</w>', 'b</w>', '<|startoftext|>', '<|endoftext|>'];
  await writeFile(
    path.join(folder, 'vocab.json'),
    JSON.stringify(Object.fromEntries(vocabulary.map((t, i) => [t, i]))),
  );
  await writeFile(path.join(folder, 'merges.txt'), '#version: 0.2\n');
  await writeFile(path.join(folder, 'text.onnx'), model);
  return path.join(folder, 'text.onnx');
}
