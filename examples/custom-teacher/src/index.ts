/** The plugin: a teacher, its data and its metrics. `dimo ... --plugin <this package>` needs nothing else. */
import {
  checkWeights,
  definePlugin,
  int32,
  OptionError,
  readSafetensors,
  type ConditionSource,
  type TeacherDefinition,
  type TeacherPlugin,
} from '@dimo/core';
import { chainNames } from './chain.js';
import { chainDatasetPlugin } from './dataset.js';
import { bigramDivergence, bigramEntropy, negativeLogLikelihood } from './metrics.js';
import { convolutionConfig, convolutionModel, nullChain } from './model.js';

export * from './chain.js';
export * from './dataset.js';
export * from './metrics.js';
export * from './model.js';

/** Chain ids, drawn uniformly or typed as `climbing`, `falling`, `0` or `1`. */
const conditions: ConditionSource = {
  classNames: chainNames,
  sample: (random, count) => ({ chain: int32([count], random.integers(count, chainNames.length)) }),
  parse: (texts) => ({
    chain: int32(
      [texts.length],
      texts.map((text) => {
        const id = chainNames.findIndex((name, index) => text === name || text === String(index));
        if (id < 0)
          throw new OptionError(
            `markov-convolution: "${text}" is no chain; known are ${chainNames.join(', ')}, 0 and 1`,
          );
        return id;
      }),
    ),
  }),
};

function define(config: Readonly<Record<string, unknown>>): TeacherDefinition {
  const resolved = convolutionConfig(config);
  return {
    contract: 2,
    name: 'markov-convolution',
    model: convolutionModel(resolved),
    nullCondition: { chain: int32([], [nullChain]) },
    conditions,
    // Any order of filling in is right for a Markov chain; MaskGIT's most-confident-first prefers likely sequences.
    sampler: { numSteps: 16, confidence: 'random' },
    config: { ...resolved },
  };
}

/** The teacher. Weights come from `model.safetensors`. */
export const markovConvolution: TeacherPlugin = {
  name: 'markov-convolution',
  description: 'Convolutional masked diffusion model of two known Markov chains',
  define,
  async load(config, source) {
    const definition = define(config);
    const { tensors } = readSafetensors(await source.read('model.safetensors'), { path: source.location });
    checkWeights(tensors, definition.model.parameters, { model: definition.model.name, path: source.location });
    return { ...definition, weights: tensors };
  },
};

export default definePlugin({
  contract: 2,
  name: 'dimo-example-custom-teacher',
  teachers: [markovConvolution],
  tokenDatasets: [chainDatasetPlugin],
  metrics: [negativeLogLikelihood, bigramDivergence, bigramEntropy],
});
