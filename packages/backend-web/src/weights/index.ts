export { fetchFile, type FetchedFile, type FetchFileOptions, type FileProgress } from './fetch-file.js';
export { browserFileCache, cacheKey, memoryFileCache, type FileCache } from './file-cache.js';
export { fileListModelFolder, type PickedFile } from './file-list-folder.js';
export {
  httpModelFolder,
  type FolderProgress,
  type HttpModelFolder,
  type HttpModelFolderOptions,
} from './http-folder.js';
export { manifestFileName, modelManifest, parseManifest, type ManifestEntry, type ModelManifest } from './manifest.js';
