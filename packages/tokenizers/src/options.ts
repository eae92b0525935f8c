/** Schemas of the options of this package, for whoever composes them without its networks. */
export { tokenizerTrainingOptions } from './training-options.js';
