/** Schemas of the options of this package, for whoever composes them without its networks. */
export { tokenizerTrainingOptions } from './tokenizer/training-options.js';
