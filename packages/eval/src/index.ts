export * from './class-metrics.js';
export * from './classifier-training.js';
export * from './classifier.js';
export * from './feature-extractor.js';
export * from './frechet-distance.js';
export * from './inception-score.js';
export * from './manifold-metrics.js';
export * from './matrix.js';
export { maxPool2x2 } from './max-pool.js';
