/** The worker's side: `serveWorker` in the worker; pages import `@dimo/backend-web/worker-client`. */
export type { MessageEndpoint, WireError } from './messages.js';
export type * from './methods.js';
export type { TeacherPlugins } from './read-model.js';
export { serveWorker, type ServeWorkerOptions } from './serve-worker.js';
