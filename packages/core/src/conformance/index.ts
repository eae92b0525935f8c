/** Suites that plugins run against their own implementations: `@dimo/core/conformance`. */
export { engineChecks, type EngineCheck, type EngineCheckOptions } from './engine.js';
export { ConformanceError } from './expectations.js';
export { teacherChecks, type TeacherCheck } from './teacher.js';
