export * from './class-metrics.js';
export * from './classifier-training.js';
export * from './classifier.js';
export * from './dataset-content.js';
export * from './feature-extractor.js';
export {
  featureStatistics,
  runningStatistics,
  type FeatureStatistics,
  type RunningStatistics,
} from './feature-statistics.js';
export * from './frechet-distance.js';
export * from './inception-score.js';
export * from './manifold-metrics.js';
export * from './matrix.js';
export { maxPool2x2 } from './max-pool.js';
export * from './evaluate.js';
export * from './arrange-by-class.js';
export * from './judge.js';
export { classifierFeatureLength } from './options.js';
export * from './reference.js';
export * from './report.js';
export * from './table.js';
export { clipScore } from './features/clip-score.js';
export * from './features/feature-metrics.js';
export {
  openFeatureNetwork,
  type FeatureNetwork,
  type NetworkFeatures,
  type NetworkPort,
  type NetworkSession,
  type NetworkTensor,
} from './features/feature-network.js';
export { meanDiscrepancy } from './features/mean-discrepancy.js';
export {
  describeFeatureNetwork,
  featureNetworkPresets,
  type FeatureNetworkDescription,
  type FeatureNetworkFields,
} from './features/network-description.js';
export { readNpz, type NpzArray } from './features/npz.js';
export {
  featureReferenceEntries,
  imagesOf,
  readFeatureReference,
  type FeatureReference,
  type NpzEntry,
} from './features/reference-statistics.js';
export { resizeImages, type PixelBatch, type ResizeMethod, type ResizeOptions } from './features/resize.js';
