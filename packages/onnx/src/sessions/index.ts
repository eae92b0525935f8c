export { largeResults } from '../passes/recompute.js';
export { residenceOn, webgpuLowering } from './copy-models.js';
export { errorOf, localHost, takeTurns, type Turns } from './local-host.js';
export { overlappingHost } from './overlapping-host.js';
export * from './protocol.js';
export {
  sessionEngine,
  tracingEmitter,
  type ModelBytes,
  type ModelEmitter,
  type SessionEngineOptions,
  type SessionHostCalls,
} from './session-engine.js';
export {
  createSessionHost,
  failureOf,
  transferable,
  type RuntimeMetadata,
  type RuntimeSession,
  type RuntimeTensor,
  type SessionHost,
  type SessionHostOptions,
  type SessionRuntime,
} from './session-host.mjs';
