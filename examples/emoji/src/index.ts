/** Text to image from npm packages alone. */
import { definePlugin, type DimoPlugin } from '@dimo/core';
import { emojiDataset } from './data/dataset.js';
import { nameRetrieval } from './matcher/metric.js';
import { presetsLocation } from './presets.js';
import { emojiTeacher } from './teacher/plugin.js';

export { categories, emojiDataset } from './data/dataset.js';
export { heldOutCompositions } from './data/described-images.js';
export { loadMatcher, nameRetrieval } from './matcher/metric.js';
export { readMatcher, retrievalAccuracy, type Matcher } from './matcher/retrieval.js';
export { matcherTrainingProgram, type MatcherTrainingOptions } from './matcher/training.js';
export * from './teacher/index.js';

/** The dataset `emoji`, the teacher `emoji-meissonic` and the metric `name-retrieval`. */
const plugin: DimoPlugin = definePlugin({
  contract: 2,
  name: 'dimo-example-emoji',
  teachers: [
    {
      ...emojiTeacher,
      presets: {
        emoji: {
          description: 'emoji from their names, 32 x 32 pixels, trained here; with a one-step generator',
          location: new URL('emoji/', presetsLocation).href,
        },
      },
    },
  ],
  datasets: [emojiDataset],
  metrics: [nameRetrieval],
});

export default plugin;
