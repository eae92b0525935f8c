/** Settings of a distillation by Di[M]O: those of every distillation and its own, resolved. */
import { z } from 'zod';
import { OptionError } from '../errors.js';
import { isGuided, type Guidance } from '../model/guidance.js';
import type { MaskRatioSchedule } from '../model/schedule.js';
import type { TokenDivergenceAttributes } from '../ops/token-divergence.js';
import type { GivenOptions, ResolvedOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';
import { resolveTokenInit } from '../sampling/token-init.js';
import { dimoOptions } from './dimo-options.js';
import { divergenceBeta } from './divergence.js';
import { distillationRunOptions } from './run-options.js';

const options: typeof distillationRunOptions & typeof dimoOptions = { ...distillationRunOptions, ...dimoOptions };
const schema = z.strictObject(options);

/**
 * Settings of a distillation. The defaults suit a small teacher on a laptop; `officialDistillation` has those of the
 * official MaskGIT run. `dimoOptions` says what each is.
 */
export type DistillationOptions = GivenOptions<typeof options>;

/** The networks of a distillation. */
export type NetworkRole = 'teacher' | 'auxiliary' | 'generator';

/** `DistillationOptions` with defaults filled in. */
export type ResolvedDistillation = Omit<
  ResolvedOptions<typeof options>,
  'teacherGuidance' | 'auxiliaryMaskSchedule' | 'conditionDrop'
> & {
  readonly teacherGuidance: Guidance;
  readonly auxiliaryMaskSchedule: MaskRatioSchedule;
  readonly conditionDrop: number;
  /** Divergence and temperatures as the op takes them. */
  readonly divergenceAttributes: TokenDivergenceAttributes;
};

/** Settings of the official MaskGIT run (batch size of its launch script). */
export const officialDistillation = {
  numSteps: 50001,
  batchSize: 64,
  tokenInit: { maskRatio: 0.6, embeddingNoise: 0.1, noiseUnit: 'unit' },
  sampling: { reference: true },
  teacherGuidance: 2,
  generatorLearningRate: 1e-5,
  auxiliaryLearningRate: 1e-5,
  learningRateSchedule: { kind: 'constant', warmupSteps: 100 },
  generatorOptimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6, clipNorm: 1 },
  auxiliaryOptimizer: { beta1: 0.9, beta2: 0.999, epsilon: 1e-6 },
  averageDecay: 0.9999,
  onNonFinite: 'reference',
} as const satisfies DistillationOptions;

/**
 * Fills in defaults.
 *
 * @param where - path of the options, for messages.
 * @throws OptionError for a value out of its range.
 */
export function resolveDistillation(given: DistillationOptions = {}, where = 'distillation'): ResolvedDistillation {
  const resolved = parseOptions(schema, given, where);
  const { teacherGuidance, auxiliaryGuidance, auxiliaryTrainingGuidance, divergence, maskRatioRange } = resolved;
  const { teacherTemperature, auxiliaryTemperature } = resolved;
  const [lowest, highest] = maskRatioRange;
  if (lowest > highest)
    throw new OptionError(`${where}.maskRatioRange must be a range in [0, 1], got ${JSON.stringify(maskRatioRange)}`);
  const defaultDrop = isGuided(auxiliaryGuidance) || isGuided(auxiliaryTrainingGuidance) ? 0.1 : 0;
  return {
    ...resolved,
    tokenInit: resolveTokenInit(resolved.tokenInit, `${where}.tokenInit`),
    teacherGuidance:
      teacherGuidance.kind === 'constant'
        ? teacherGuidance.scale
        : { kind: 'ratio-adaptive', scale: teacherGuidance.scale },
    auxiliaryMaskSchedule: resolved.auxiliaryMaskSchedule ?? resolved.maskSchedule,
    conditionDrop: resolved.conditionDrop ?? defaultDrop,
    divergenceAttributes: {
      beta: divergenceBeta(divergence, `${where}.divergence`),
      teacherTemperature,
      auxiliaryTemperature,
    },
  };
}
