/** Files of this machine: run folders, checkpoints, weights. */
export { folderCheckpointStore, openRunFolder, type RunFolder } from './checkpoint-folder.js';
export {
  appendText,
  makeFolders,
  openFileChecked,
  openRegular,
  readFileChecked,
  syncFolder,
  writeFileAtomically,
  writeFileDurably,
} from './files.js';
export { pathInside } from './path-inside.js';
export { ioError, isAbsentFile, withIoError } from './io-error.js';
export { acquireRunLock, isRunLocked, type RunLock } from './run-lock.js';
export { sha256OfContent, sha256OfFile } from './sha256.js';
export { folderWeightSource, type FolderWeightSourceOptions } from './weight-folder.js';
