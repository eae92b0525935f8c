/**
 * A reporter of vitest for `npm test`: which test files began and did not end, because their process died, and in which
 * test. vitest itself says only that a process ended.
 */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './set-up.mjs';

/** Where the list is written, as JSON: `[{ "file": "tests/a.test.ts", "test": "its name" }]`. */
export const unfinishedFilesPath = path.join(root, 'node_modules', '.cache', 'dimo', 'unfinished-files.json');

export default class UnfinishedFiles {
  /** The test that runs, by file. */
  #running = new Map();

  onTestModuleStart({ moduleId }) {
    this.#running.set(moduleId, undefined);
  }

  onTestCaseReady({ module, fullName }) {
    this.#running.set(module.moduleId, fullName);
  }

  onTestModuleEnd({ moduleId }) {
    this.#running.delete(moduleId);
  }

  onTestRunEnd() {
    const unfinished = [...this.#running].map(([file, test]) => ({ file: path.relative(root, file), test }));
    writeFileSync(unfinishedFilesPath, JSON.stringify(unfinished));
  }
}
