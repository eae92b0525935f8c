/** Every engine of this package against the conformance suite. What this machine lacks is skipped, with the reason. */
import type { Engine } from '@dimo/core';
import { engineChecks, type EngineCheckOptions } from '@dimo/core/conformance';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { nodeEngines } from './plugin.js';

const differences: Record<string, Partial<EngineCheckOptions>> = {
  // tfjs adds the rows of an embedding gradient with atomic operations, in no fixed order.
  webgpu: { isDeterministic: false },
};

/** A GPU emulated on a busy CPU compiles a program for many seconds. */
const timeout = 300_000;

for (const factory of nodeEngines) {
  const availability = await factory.probe();
  const title = availability.available
    ? `engine ${factory.name} on ${availability.info.device}`
    : `engine ${factory.name}, skipped: ${availability.reason}`;
  describe.skipIf(!availability.available)(title, () => {
    let engine: Engine;
    beforeAll(async () => {
      engine = await factory.create();
    });
    afterAll(() => engine?.dispose());
    for (const check of engineChecks({ ...differences[factory.name], create: () => factory.create() }))
      it.skipIf(check.skip)(
        check.skip ? `${check.name}, skipped: ${check.skip}` : check.name,
        () => check.run(engine),
        timeout,
      );
  });
}
