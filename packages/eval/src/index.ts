export * from './classifier-training.js';
export * from './classifier.js';
export * from './feature-extractor.js';
export { maxPool2x2 } from './max-pool.js';
