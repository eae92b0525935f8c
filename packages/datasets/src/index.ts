import { definePlugin, type DimoPlugin } from '@dimo/core';
import { fashionMnistDataset } from './fashion-mnist.js';
import { mnistDataset } from './mnist.js';

export * from './batches.js';
export * from './fashion-mnist.js';
export * from './idx.js';
export * from './mnist.js';
export { pictureOptions, type PictureOptions } from './pictures/options.js';
export { openPictureFolder, type OpenPictureFolderOptions, type PictureDataset } from './pictures/picture-folder.js';
export { readPicture, type ReadPictureOptions } from './pictures/read-picture.js';
export type { BadPictureReport, PictureFileFacts, PictureProgress } from './pictures/picture-cache.js';

/** The datasets of this package. */
export const datasetsPlugin: DimoPlugin = definePlugin({
  contract: 2,
  name: '@dimo/datasets',
  datasets: [mnistDataset, fashionMnistDataset],
});
