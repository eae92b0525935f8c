/**
 * A teacher of a few hundred weights with an image decoder, for tests of the command line: steps take milliseconds on
 * the cpu engine. It is "trained" by its seed alone: what is tested is the machinery around it.
 *
 * Environment: `TOY_STEP_DELAY` milliseconds that each draw of conditions takes; `TOY_NAN_AFTER` draws of conditions after
 * which they hold NaN; `TOY_THROW_AFTER` draws of conditions after which they throw a plain error.
 */
import {
  definePlugin,
  embedding,
  float32,
  int32,
  linear,
  OptionError,
  randomStream,
  readSafetensors,
  sizeOf,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';

const codebookSize = 6;
const grid = [2, 3];
const width = 8;
const classNames = ['low', 'middle', 'high'];
const spec = (...shape) => ({ dtype: 'float32', shape });
const parameters = {
  'tokens.weight': spec(codebookSize + 1, width),
  'labels.weight': spec(classNames.length + 1, width),
  'output.weight': spec(codebookSize + 1, width),
  'output.bias': spec(codebookSize + 1),
};

const initialize = (random) =>
  Object.fromEntries(
    Object.entries(parameters).map(([name, { shape }]) => [
      name,
      float32(shape, random.fork(name).normal(sizeOf(shape))),
    ]),
  );

const model = {
  name: 'toy',
  tokenSpace: { codebookSize, numLogits: codebookSize + 1, maskTokenId: codebookSize, grid },
  condition: { label: { dtype: 'int32', shape: [] }, strength: { dtype: 'float32', shape: [] } },
  embeddingWidth: width,
  parameters,
  embeddingParameters: ['tokens.weight'],
  initialize,
  embed: (weights, tokens) => embedding(weights['tokens.weight'], tokens),
  logits(weights, { embeddings, condition }) {
    const label = tf.expandDims(embedding(weights['labels.weight'], condition.label), 1);
    const scaled = tf.mul(label, tf.reshape(condition.strength, [-1, 1, 1]));
    const hidden = tf.tanh(tf.add(tf.add(embeddings, tf.mean(embeddings, 1, true)), scaled));
    return linear(hidden, weights['output.weight'], weights['output.bias']);
  },
};

const decoder = {
  name: 'toy-pixels',
  parameters: { gain: spec() },
  imageShape: [2, 3, 1],
  grid,
  codebookSize,
  decode: (weights, tokens) =>
    tf.clipByValue(
      tf.mul(
        tf.reshape(tf.cast(tokens, 'float32'), [tokens.shape[0], 2, 3, 1]),
        tf.div(weights.gain, codebookSize - 1),
      ),
      0,
      1,
    ),
};

let numDraws = 0;
const conditions = {
  classNames,
  async sample(random, count) {
    const delay = Number(process.env.TOY_STEP_DELAY ?? 0);
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    if (numDraws >= Number(process.env.TOY_THROW_AFTER ?? Infinity)) throw new Error('toy: out of luck');
    const strength = ++numDraws > Number(process.env.TOY_NAN_AFTER ?? Infinity) ? NaN : 1;
    return {
      label: int32([count], random.integers(count, classNames.length)),
      strength: float32([count], new Float32Array(count).fill(strength)),
    };
  },
  parse: (texts) => ({
    label: int32(
      [texts.length],
      texts.map((text) => {
        const id = classNames.findIndex((name, index) => text === name || text === String(index));
        if (id < 0) throw new OptionError(`toy: "${text}" is no class; known are ${classNames.join(', ')} and 0 to 2`);
        return id;
      }),
    ),
    strength: float32([texts.length], new Float32Array(texts.length).fill(1)),
  }),
};

function define(config) {
  const unknown = Object.keys(config).filter((key) => key !== 'seed');
  if (unknown.length > 0) throw new OptionError(`toy: unknown key ${unknown.join(', ')}; known is seed`);
  return {
    contract: 2,
    name: 'toy',
    model,
    nullCondition: { label: int32([], [classNames.length]), strength: float32([], [1]) },
    conditions,
    decoder,
    config: { seed: config.seed ?? 1 },
  };
}

export default definePlugin({
  contract: 2,
  name: 'toy-plugin',
  teachers: [
    {
      name: 'toy',
      description: 'for tests',
      define,
      async load(config, source) {
        const definition = define(config);
        const decoderWeights = { gain: float32([], [1]) };
        const isTrained = (await source.list()).includes('model.safetensors');
        const weights = isTrained
          ? readSafetensors(await source.read('model.safetensors')).tensors
          : initialize(randomStream(definition.config.seed, 0, 'toy'));
        return { ...definition, weights, decoderWeights };
      },
    },
  ],
  tokenDatasets: [
    {
      name: 'toy-tokens',
      description: 'rows of one token each',
      load: () => ({
        name: 'toy-tokens',
        codebookSize,
        tokens: int32(
          [60, 6],
          Int32Array.from({ length: 360 }, (_, i) => Math.floor(i / 6) % codebookSize),
        ),
        condition: conditions.parse(Array.from({ length: 60 }, (_, i) => String(Math.floor((i % 6) / 2)))),
      }),
    },
  ],
  metrics: [
    {
      name: 'mean-token',
      description: 'mean of the token ids',
      higherIsBetter: false,
      compute: ({ tokens }) => tokens.data.reduce((sum, token) => sum + token, 0) / tokens.data.length,
    },
  ],
});
