/** The distillation algorithms that core brings. */
import type { AlgorithmRegistry, DistillationAlgorithm } from './algorithm.js';
import { dimoAlgorithm } from './dimo.js';

/** By name. */
export const builtInAlgorithms: AlgorithmRegistry = new Map<string, DistillationAlgorithm>([
  [dimoAlgorithm.name, dimoAlgorithm],
]);
