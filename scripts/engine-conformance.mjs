/**
 * The conformance suite on engines of this machine, as built, without a test framework: for versions of Node that the
 * framework does not run on, and for other runtimes.
 *
 *   node scripts/engine-conformance.mjs [engine ...]     (after `npm run build`; default: onnx wasm cpu)
 */
import { nodeEngines } from '@dimo/backend-node';
import { engineChecks } from '@dimo/core/conformance';

const wanted = process.argv.length > 2 ? process.argv.slice(2) : ['onnx', 'wasm', 'cpu'];
for (const name of wanted) {
  const engine = await nodeEngines.find((factory) => factory.name === name).create();
  let passed = 0;
  for (const check of engineChecks()) {
    if (check.skip) continue;
    try {
      await check.run(engine);
      passed++;
    } catch (error) {
      console.log(`FAILED ${name}: ${check.name}: ${error.message}`);
      process.exitCode = 1;
    }
  }
  await engine.dispose();
  console.log(`${name}: ${passed} checks passed`);
}
