/**
 * The conformance suite of engines: every engine passes the same checks, and what it cannot do is declared as an option
 * and shows as skipped. With vitest (any framework with the same shape will do):
 *
 *     for (const check of engineChecks()) it.skipIf(check.skip)(check.name, () => check.run(engine));
 */
import '../gradients.js';
import type { EngineCheck, EngineCheckOptions } from './engine-check.js';
import { halfChecks } from './half-checks.js';
import { misuseChecks } from './misuse-checks.js';
import { opChecks } from './op-checks.js';
import { scratchChecks } from './scratch-checks.js';
import { stateChecks } from './state-checks.js';
import { trainingChecks } from './training-checks.js';

/** All checks of an engine; each leaves it as it found it. */
export function engineChecks(options: Partial<EngineCheckOptions> = {}): EngineCheck[] {
  const resolved: EngineCheckOptions = { tolerance: 2e-5, isDeterministic: true, ...options };
  return [
    ...stateChecks(),
    ...scratchChecks(),
    ...misuseChecks(resolved),
    ...halfChecks(),
    ...trainingChecks(resolved),
    ...opChecks(resolved),
  ];
}
