/** Files from a hub of models, through the cache that all tools share. */
export type { HubFile } from './api.js';
export type { DownloadedFile } from './download.js';
export { isDataFile } from './file-names.js';
export { pushToHub, type PushedFile, type PushOptions, type PushProgress, type PushResult } from './push.js';
export { formatHubReference, isCommit, isHubReference, parseHubReference, type HubReference } from './reference.js';
export {
  cachedHubSource,
  openHubRepository,
  type HubProgress,
  type HubRepository,
  type HubRepositoryOptions,
} from './repository.js';
export { hubSettings, type HubSettings } from './settings.js';
