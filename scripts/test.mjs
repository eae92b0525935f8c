/**
 * `npm test`: set-up, build, static checks and every test, from a fresh clone. The last line is `N passed, N failed`.
 * `npm test -- --fast` leaves out the checks of the packed packages and those on other versions of Node.
 */
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { checkNodeVersions } from './check-node-versions.mjs';
import { build, install, root, run, runBinary } from './set-up.mjs';

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
rmSync(results, { force: true });
const testsSucceeded = runBinary('vitest', [
  'run',
  '--reporter=default',
  '--reporter=json',
  `--outputFile.json=${results}`,
]);
let skipped = 0;
try {
  const report = JSON.parse(readFileSync(results, 'utf8'));
  passed += report.numPassedTests;
  skipped = report.numPendingTests + report.numTodoTests;
  for (const file of report.testResults) {
    for (const test of file.assertionResults)
      if (test.status === 'failed') failures.push(`${path.relative(root, file.name)}: ${test.fullName}`);
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'))
      failures.push(`${path.relative(root, file.name)}: ${file.message || 'did not run'}`);
  }
} catch (error) {
  failures.push(`test results: ${error.message}`);
}
if (!testsSucceeded && failures.length === 0) failures.push('vitest exited with an error');

console.log('');
for (const failure of failures) console.log(`FAILED ${failure}`);
if (skipped > 0) console.log(`${skipped} tests were skipped; each says why in its name or above.`);
console.log(`${passed} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
