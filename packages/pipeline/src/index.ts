/** The door for Node; bundlers for browsers take `browser.ts` instead. */
export {
  encodeImport,
  importFileName,
  modelFolder,
  openSource,
  readImport,
  type ImportedModel,
} from './hosts/imported-model.js';
export { pipeline } from './hosts/node.js';
export { teacherFilesOf } from './hosts/open-import.js';
export * from './shared.js';
