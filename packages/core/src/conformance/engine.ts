/**
 * The conformance suite of engines: every engine passes the same checks, and what it cannot do is declared as an option
 * and shows as skipped. With vitest (any framework with the same shape will do):
 *
 *     for (const check of engineChecks()) it.skipIf(check.skip)(check.name, () => check.run(engine));
 */
import '../gradients.js';
import type { Engine } from '../engine.js';
import { halfChecks } from './half-checks.js';
import { misuseChecks } from './misuse-checks.js';
import { opChecks } from './op-checks.js';
import { stateChecks } from './state-checks.js';
import { trainingChecks } from './training-checks.js';

/** One named check. */
export interface EngineCheck {
  readonly name: string;
  /** Why this engine is excused. */
  readonly skip?: string;
  /** Resolves if the engine passes. @throws ConformanceError that says what was expected and what came. */
  readonly run: (engine: Engine) => Promise<void>;
}

/** What to demand of an engine. */
export interface EngineCheckOptions {
  /**
   * Largest allowed |value - reference| / max(1, |reference|) of float32 results. The default leaves room for erf
   * approximations (1.5e-7) and sums of a few dozen float32 terms; a wrong formula is off by 1e-2 or more.
   *
   * @default 2e-5
   */
  readonly tolerance: number;
  /** False if equal runs may differ in the last bit, as with atomic additions on a GPU. @default true */
  readonly isDeterministic: boolean;
  /** Makes another engine of the kind, for the checks that dispose one. @default those checks are skipped */
  readonly create?: () => Promise<Engine>;
}

/** All checks of an engine; each leaves it as it found it. */
export function engineChecks(options: Partial<EngineCheckOptions> = {}): EngineCheck[] {
  const resolved: EngineCheckOptions = { tolerance: 2e-5, isDeterministic: true, ...options };
  return [
    ...stateChecks(),
    ...misuseChecks(resolved),
    ...halfChecks(),
    ...trainingChecks(resolved),
    ...opChecks(resolved),
  ];
}
