/** Suites that plugins run against their own implementations: `@dimo/core/conformance`. */
export { engineChecks } from './engine.js';
export { type EngineCheck, type EngineCheckOptions } from './engine-check.js';
export { ConformanceError } from './expectations.js';
export { teacherChecks, type TeacherCheck } from './teacher.js';
export {
  redrawn,
  sampledDistribution,
  totalVariation,
  type ExactLaw,
  type SampledDistribution,
} from './sampler-laboratory.js';
