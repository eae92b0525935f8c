/** Files of this machine: run folders, checkpoints, weights. */
export { folderCheckpointStore, openRunFolder, type RunFolder } from './checkpoint-folder.js';
export { makeFolders, readFileChecked, syncFolder, writeFileDurably } from './files.js';
export { ioError, withIoError } from './io-error.js';
export { acquireRunLock, type RunLock } from './run-lock.js';
export { folderWeightSource, type FolderWeightSourceOptions } from './weight-folder.js';
