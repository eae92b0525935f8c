/** Text to image from npm packages alone. */
import { definePlugin, type DimoPlugin } from '@dimo/core';
import { emojiDataset } from './data/dataset.js';

export { categories, emojiDataset } from './data/dataset.js';
export { heldOutCompositions } from './data/described-images.js';

/** The dataset `emoji`. */
const plugin: DimoPlugin = definePlugin({
  contract: 1,
  name: 'dimo-example-emoji',
  datasets: [emojiDataset],
});

export default plugin;
