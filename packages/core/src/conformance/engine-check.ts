/** What a check of the conformance suite is, and what may be demanded of an engine. */
import type { Engine } from '../engine/engine.js';

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
