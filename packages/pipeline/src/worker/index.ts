/** The worker's side: `serveWorker` in the worker; pages import `@dimo/pipeline/worker-client`. */
export type { MessageEndpoint, WireError } from './messages.js';
export type * from './methods.js';
export { bundledTeachers } from '../teachers.js';
export type { TeacherPlugins } from '../model/read-model.js';
export { serveWorker, type ServeWorkerOptions } from './serve-worker.js';
