/**
 * `npm test`: set-up, build, static checks and every test, from a fresh clone. The last line is `N passed, N failed`.
 * `npm test -- --fast` leaves out the checks of the packed packages and those on other versions of Node.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { checkNodeVersions } from './check-node-versions.mjs';
import { build, childEnvironment, install, root, run, runBinary } from './set-up.mjs';
import { unfinishedFilesPath } from './unfinished-files.mjs';

const fast = process.argv.includes('--fast');
const failures = [];
let passed = 0;

function check(name, succeeded) {
  if (succeeded) passed++;
  else failures.push(name);
}

install();
build();
passed++;
check('typecheck', runBinary('nx', ['run-many', '-t', 'typecheck', '--outputStyle=static']));
check('lint', run('npm', ['run', '--silent', 'lint']));
check('format', run('npm', ['run', '--silent', 'format:check']));
if (!fast) {
  check('packages', run(process.execPath, ['scripts/check-packages.mjs']));
  checkNodeVersions(check);
}

const results = path.join(root, 'node_modules', '.cache', 'dimo', 'test-results.json');
mkdirSync(path.dirname(results), { recursive: true });
let skipped = 0;

/** Runs test files (all, if none are named) and counts. @returns the files whose process died */
function runTests(files) {
  rmSync(results, { force: true });
  rmSync(unfinishedFilesPath, { force: true });
  const reporters = ['default', 'json', path.join(root, 'scripts', 'unfinished-files.mjs')];
  const before = failures.length;
  const outputs = [...reporters.map((reporter) => `--reporter=${reporter}`), `--outputFile.json=${results}`];
  // What was just built is what the tests of the command line start.
  const env = { ...childEnvironment, DIMO_TEST_PROGRAM: 'build' };
  const succeeded = runBinary('vitest', ['run', ...outputs, ...files], { env });
  let unfinished = [];
  try {
    const report = JSON.parse(readFileSync(results, 'utf8'));
    unfinished = JSON.parse(readFileSync(unfinishedFilesPath, 'utf8'));
    const died = new Set(unfinished.map(({ file }) => file));
    for (const { name, status, message, assertionResults } of report.testResults) {
      const file = path.relative(root, name);
      if (died.has(file)) continue;
      passed += assertionResults.filter((test) => test.status === 'passed').length;
      skipped += assertionResults.filter((test) => ['pending', 'skipped', 'todo'].includes(test.status)).length;
      const failed = assertionResults.filter((test) => test.status === 'failed');
      for (const { fullName } of failed) failures.push(`${file}: ${fullName}`);
      if (status === 'failed' && failed.length === 0) failures.push(`${file}: ${message || 'did not run'}`);
    }
  } catch (error) {
    failures.push(`test results: ${error.message}`);
  }
  if (!succeeded && failures.length === before && unfinished.length === 0) failures.push('vitest exited with an error');
  return unfinished;
}

// What a test did to others before its process died is unknown, so it gets a second chance, alone; and is told of.
const died = runTests([]);
for (const { file, test } of died)
  console.log(`\nWARNING: the process of ${file} died in "${test}"; once more, alone:`);
for (const { file, test } of died)
  if (runTests([file]).length > 0) failures.push(`${file}: its process died twice, first in "${test}"`);

console.log('');
for (const failure of failures) console.log(`FAILED ${failure}`);
if (skipped > 0) console.log(`${skipped} tests were skipped; each says why in its name or above.`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
