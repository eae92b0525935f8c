/** Features of images by a network of an ONNX file, on whatever runs such files. */
import { float32, NonFiniteError, OptionError, ShapeError, sizeOf } from '@dimo/core';
import { matrix, softmaxRows, type Matrix } from '../matrix.js';
import type { FeatureNetworkDescription } from './network-description.js';
import { resizeImages, type PixelBatch } from './resize.js';

/** A tensor that goes into or comes out of an ONNX network. */
export interface NetworkTensor {
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint8Array | Int32Array | BigInt64Array;
}

/** An input or output of a network. */
export interface NetworkPort {
  readonly name: string;
  /** As ONNX names it: `float32`, `uint8`, `int64`. */
  readonly type: string;
  /** Sizes; names or -1 where any is taken. */
  readonly shape: readonly (number | string)[];
}

/** An ONNX file that has been loaded: `openOnnxModel` of `@dimo/backend-node`, or any onnxruntime session behind this. */
export interface NetworkSession {
  readonly inputs: readonly NetworkPort[];
  readonly outputs: readonly NetworkPort[];
  /** @param wanted - names of outputs. @throws DimoError for what the network does not accept. */
  run(
    inputs: Readonly<Record<string, NetworkTensor>>,
    wanted: readonly string[],
  ): Promise<Readonly<Record<string, NetworkTensor>>>;
}

/** What a network says about some images. */
export interface NetworkFeatures {
  /** [count, D]. */
  readonly features: Matrix;
  /** [count, numClasses]; absent where the network is described without classes. */
  readonly probabilities?: Matrix;
  /** [count, positions times channels]; absent where none are described. */
  readonly spatial?: Matrix;
}

/** A feature network that is ready. */
export interface FeatureNetwork {
  readonly description: FeatureNetworkDescription;
  /**
   * Features of images, which may be of different sizes where the network has one.
   *
   * @param images - of 1 or 3 channels.
   * @throws ShapeError for images that it cannot take and outputs that are none of features; NonFiniteError.
   */
  run(images: readonly PixelBatch[]): Promise<NetworkFeatures>;
}

/**
 * Checks a description against the file.
 *
 * @throws OptionError naming what the file has, if it has no input or output of a name.
 */
export function openFeatureNetwork(session: NetworkSession, description: FeatureNetworkDescription): FeatureNetwork {
  const { name } = description;
  const input = portNamed(session.inputs, description.input, { name, kind: 'input', field: 'input' });
  const type = input.type === 'uint8' ? 'uint8' : 'float32';
  if (input.type !== type)
    throw new OptionError(`${name}: the input "${input.name}" takes ${input.type}; float32 or uint8 can be given`);
  if (type === 'uint8' && (description.range[0] !== 0 || description.range[1] !== 255))
    throw new OptionError(`${name}: the input "${input.name}" takes bytes; its range must be [0, 255]`);
  const output = (asked: string | undefined, field: string) =>
    portNamed(session.outputs, asked, { name, kind: 'output', field }).name;
  const wanted = {
    features: output(description.features, 'features'),
    ...(description.logits === undefined ? {} : { logits: output(description.logits, 'logits') }),
    ...(description.probabilities === undefined
      ? {}
      : { probabilities: output(description.probabilities, 'probabilities') }),
    ...(description.spatial === undefined ? {} : { spatial: output(description.spatial, 'spatial') }),
  };
  return {
    description,
    async run(images) {
      const batch = inOneSize(images, description);
      const tensor = inputTensor(batch, description, type);
      const outputs = await session.run({ [input.name]: tensor }, [...new Set(Object.values(wanted))]);
      const { count } = batch;
      const of = (port: string) => floats(outputs[port], { name, port, count });
      const features = featureRows(of(wanted.features), description);
      const logits = wanted.logits === undefined ? undefined : rowsOf(of(wanted.logits), name);
      const probabilities = wanted.probabilities === undefined ? undefined : rowsOf(of(wanted.probabilities), name);
      if (probabilities) checkProbabilities(probabilities, name);
      return {
        features: description.normalize ? normalized(features, name) : features,
        ...(logits ? { probabilities: softmaxRows(logits) } : probabilities ? { probabilities } : {}),
        ...(wanted.spatial === undefined ? {} : { spatial: spatialRows(of(wanted.spatial), description) }),
      };
    },
  };
}

function portNamed(
  ports: readonly NetworkPort[],
  asked: string | undefined,
  { name, kind, field }: { name: string; kind: string; field: string },
): NetworkPort {
  const known = ports.map((port) => `"${port.name}" (${port.type} [${port.shape.join(', ')}])`).join(', ');
  if (asked === undefined) {
    if (ports.length === 1) return ports[0]!;
    throw new OptionError(`${name}: has several ${kind}s, ${known}; name one as "${field}" in its description`);
  }
  const found = ports.find((port) => port.name === asked);
  if (found) return found;
  throw new OptionError(`${name}: has no ${kind} "${asked}"; it has ${known}`, {
    hint: `set "${field}" in the description of the network`,
  });
}

/** All images in the network's size and three channels. */
function inOneSize(
  images: readonly PixelBatch[],
  { name, size, resize, rounds }: FeatureNetworkDescription,
): PixelBatch {
  const [first] = images;
  if (!first) throw new ShapeError(`${name}: no images were given`);
  const [height, width] = size ?? [first.height, first.width];
  const other = size ? undefined : images.find((batch) => batch.height !== height || batch.width !== width);
  if (other)
    throw new ShapeError(
      `${name}: resizes images itself and takes those of one size, got ${height} x ${width} and ${other.height} x ${other.width}`,
    );
  const resized = images.map((batch) => resizeImages(inColours(batch, name), [height, width], resize, { rounds }));
  if (resized.length === 1) return resized[0]!;
  const count = resized.reduce((sum, batch) => sum + batch.count, 0);
  const data = new Float32Array(count * height * width * 3);
  let at = 0;
  for (const batch of resized) {
    data.set(batch.data, at);
    at += batch.data.length;
  }
  return { count, height, width, channels: 3, data };
}

function inColours(batch: PixelBatch, name: string): PixelBatch {
  const { channels, data } = batch;
  if (channels === 3) return batch;
  if (channels !== 1) throw new ShapeError(`${name}: images must have 1 or 3 channels, got ${channels}`);
  const colours = new Uint8Array(data.length * 3);
  for (let i = 0; i < data.length; i++) colours.fill(data[i]!, i * 3, i * 3 + 3);
  return { ...batch, channels: 3, data: colours };
}

function inputTensor(
  { count, height, width, data }: PixelBatch,
  { layout, range, mean, std }: FeatureNetworkDescription,
  type: 'float32' | 'uint8',
): NetworkTensor {
  const [low, high] = range;
  const perChannel = (value: number | number[]) => (typeof value === 'number' ? [value, value, value] : value);
  const [means, deviations] = [perChannel(mean), perChannel(std)];
  const scales = deviations.map((deviation) => (high - low) / 255 / deviation);
  const offsets = deviations.map((deviation, c) => (low - means[c]!) / deviation);
  const area = height * width;
  const values = type === 'uint8' ? new Uint8Array(data.length) : new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) {
    const c = i % 3;
    const pixel = (i - c) / 3;
    const place = layout === 'nhwc' ? i : (Math.floor(pixel / area) * 3 + c) * area + (pixel % area);
    const value = data[i]! * scales[c]! + offsets[c]!;
    values[place] = type === 'uint8' ? Math.round(value) : value;
  }
  const shape = layout === 'nhwc' ? [count, height, width, 3] : [count, 3, height, width];
  return { type, shape, data: values };
}

interface Output {
  readonly port: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

function floats(
  tensor: NetworkTensor | undefined,
  { name, port, count }: { name: string; port: string; count: number },
): Output {
  if (!tensor || !(tensor.data instanceof Float32Array))
    throw new ShapeError(`${name}: the output "${port}" must be float32, got ${tensor?.type ?? 'nothing'}`, {
      hint: 'export the network with float32 outputs',
    });
  const { shape, data } = tensor;
  if (shape[0] !== count || sizeOf(shape) !== data.length || shape.length < 2)
    throw new ShapeError(
      `${name}: the output "${port}" must be [${count}, ...] for ${count} images, got [${shape.join(', ')}]`,
    );
  return { port, shape, data };
}

/** [count, D] of an output whose other axes are 1. */
function rowsOf({ port, shape, data }: Output, name: string): Matrix {
  const axes = shape.slice(1).filter((length) => length !== 1);
  if (axes.length > 1)
    throw new ShapeError(
      `${name}: the output "${port}" must have one vector per image, got [${shape.join(', ')}]; name another output, or "token" where it is a sequence`,
    );
  return checked(matrix(data, sizeOf(shape.slice(1))), port, name);
}

function checked(rows: Matrix, port: string, name: string): Matrix {
  const wrong = rows.data.findIndex((value: number) => !Number.isFinite(value));
  if (wrong >= 0)
    throw new NonFiniteError(
      `${name}: the output "${port}" has the value ${rows.data[wrong]} for image ${Math.floor(wrong / rows.columns)} of the batch`,
    );
  return rows;
}

function featureRows(output: Output, { name, token }: FeatureNetworkDescription): Matrix {
  if (token === undefined) return rowsOf(output, name);
  const { port, shape, data } = output;
  const [count, length, width] = shape as [number, number, number];
  if (shape.length !== 3 || token >= length)
    throw new ShapeError(
      `${name}: the output "${port}" must be a sequence [batch, more than ${token}, features], got [${shape.join(', ')}]`,
    );
  const rows = float32([count, width]);
  for (let i = 0; i < count; i++)
    rows.data.set(data.subarray((i * length + token) * width, (i * length + token + 1) * width), i * width);
  return checked(matrix(rows.data, width), port, name);
}

/** The first channels at every position, position by position. */
function spatialRows(
  { port, shape, data }: Output,
  { name, layout, spatialChannels }: FeatureNetworkDescription,
): Matrix {
  const [count, ...axes] = shape as [number, number, number, number];
  const [channels, area] = layout === 'nhwc' ? [axes[2], axes[0] * axes[1]] : [axes[0], axes[1] * axes[2]];
  if (shape.length !== 4 || channels < spatialChannels)
    throw new ShapeError(
      `${name}: the output "${port}" must be a map of at least ${spatialChannels} channels, got [${shape.join(', ')}]`,
    );
  const rows = new Float32Array(count * area * spatialChannels);
  for (let i = 0; i < count; i++)
    for (let place = 0; place < area; place++)
      for (let c = 0; c < spatialChannels; c++)
        rows[(i * area + place) * spatialChannels + c] =
          data[layout === 'nhwc' ? (i * area + place) * channels + c : (i * channels + c) * area + place]!;
  return checked(matrix(rows, area * spatialChannels), port, name);
}

function normalized(rows: Matrix, name: string): Matrix {
  const data = new Float32Array(rows.data.length);
  for (let i = 0; i < rows.rows; i++) {
    const row = rows.data.subarray(i * rows.columns, (i + 1) * rows.columns);
    let sum = 0;
    for (const value of row) sum += value * value;
    if (sum === 0)
      throw new NonFiniteError(`${name}: the features of image ${i} of the batch are all 0; they have no direction`);
    for (let d = 0; d < rows.columns; d++) data[i * rows.columns + d] = row[d]! / Math.sqrt(sum);
  }
  return matrix(data, rows.columns);
}

/** Rounding of float32 sums of some thousand classes stays below this. */
const probabilityTolerance = 1e-3;

function checkProbabilities(rows: Matrix, name: string): void {
  for (let i = 0; i < rows.rows; i++) {
    const row = rows.data.subarray(i * rows.columns, (i + 1) * rows.columns);
    let sum = 0;
    for (const value of row) sum += value >= 0 ? value : NaN;
    if (!(Math.abs(sum - 1) <= probabilityTolerance))
      throw new OptionError(
        `${name}: what is described as probabilities must be at least 0 and sum to 1, got a sum of ${sum} for image ${i} of the batch`,
        { hint: 'describe the output as "logits" if it holds logits' },
      );
  }
}
