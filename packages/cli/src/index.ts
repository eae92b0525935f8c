export { run } from './run-program.js';
export { loadGenerator } from './models.js';
export type { DimoConfig } from './config/schema.js';
