/**
 * The random numbers of a distillation step, and the function inputs that follow from them. Everything random is drawn
 * here, on the host, from streams keyed by the seed and the sample (its number in the run), so that neither micro-steps
 * nor ranks change what a sample draws; a saved set of draws replays a step on any engine.
 */
import { checkConditions } from '../model/check-conditions.js';
import { dropConditions } from '../model/condition-drop.js';
import { drawnTensor, scaledTensor } from '../ops/drawn-tensor.js';
import type { NetworkRole, ResolvedDistillation } from './options.js';
import { guidanceScales, isGuided, withBatchAxis, type Guidance } from '../model/guidance.js';
import { countMasked, scheduledMask } from '../model/masking.js';
import { type MaskedDiffusionModel, type Teacher } from '../model/model.js';
import { randomStream, type RandomStream } from '../random/random.js';
import { sampleStream } from '../random/sample-stream.js';
import { randomTokenDraws, tokenDrawSpec } from '../sampling/drawing-tokens.js';
import { embeddingNoiseScale, type MaskRatioSchedule } from '../model/schedule.js';
import { float32, int32, scalar, sizeOf, withPrefix, type HostTensor, type HostTree } from '../tensors/tensors.js';
import { timeInputs } from '../model/time-conditioning.js';
import { initialMaskRatio, initialTokens } from '../sampling/token-init.js';
import { sequenceLength } from '../model/token-space.js';
import type { SampleRows } from '../training/phase.js';

/** The half of a step that draws are for. */
export type DistillationPhase = 'generator' | 'auxiliary';

/** Random numbers of one micro-step. */
export interface PhaseDraws {
  /** Conditions, leading axis batch. */
  readonly condition: HostTree;
  /** int32 [batch, L] in [0, codebookSize). */
  readonly initialCodes: HostTensor<'int32'>;
  /** float32 [batch, L]: order in which initial positions are masked. */
  readonly initialMaskUniforms: HostTensor<'float32'>;
  /** float32 [batch, L, embeddingWidth], standard normal; absent if the noise scale is always 0. */
  readonly embeddingNoise?: HostTensor<'float32'>;
  /** Draw the generator's tokens; as `tokenDrawSpec` says, with a leading batch axis. */
  readonly tokenDraws: HostTensor<'float32'>;
  /** float32 [batch]: mask ratio of the re-masked sample. */
  readonly maskRatioUniforms: HostTensor<'float32'>;
  /** float32 [batch, L]: order in which positions are re-masked. */
  readonly maskUniforms: HostTensor<'float32'>;
  /** float32 [batch]: condition drop of the auxiliary model. */
  readonly dropUniforms: HostTensor<'float32'>;
  /** Dropout uniforms, `<network>/<site>`, leading axis batch. */
  readonly dropout?: HostTree;
  /** Those of the unconditional passes of guided networks. */
  readonly unconditionalDropout?: HostTree;
  /**
   * Masked positions over which the losses are means.
   *
   * @default those of all micro-steps of the iteration
   */
  readonly maskedCount?: number;
}

/** Random numbers of one iteration. */
export interface DistillationDraws {
  /** Initial mask ratio of the iteration, shared by both phases. */
  readonly initialMaskRatio: number;
  /** One per micro-step; empty in iterations without a generator update. */
  readonly generator: readonly PhaseDraws[];
  /** One per micro-step. */
  readonly auxiliary: readonly PhaseDraws[];
}

/** What draws depend on. */
export interface DrawContext {
  readonly teacher: Pick<Teacher, 'conditions' | 'nullCondition' | 'model'>;
  readonly generator: MaskedDiffusionModel;
  readonly auxiliary: MaskedDiffusionModel;
  readonly settings: ResolvedDistillation;
  /** What the teacher's guidance leads away from, without batch axis. @default the null condition */
  readonly negativeCondition?: HostTree;
  /** Multiplies the standard normal embedding noise. */
  readonly noiseUnit: number;
}

/** True if the generator's embeddings are ever perturbed. */
export function hasEmbeddingNoise(settings: ResolvedDistillation): boolean {
  return settings.tokenInit.embeddingNoise.scale > 0;
}

/** True in iterations that update the generator. */
export function isGeneratorStep(settings: ResolvedDistillation, step: number): boolean {
  return step % settings.auxiliaryRounds === 0;
}

/** Draws of an iteration on one rank; depends on seed and step alone. */
export async function drawDistillation(context: DrawContext, step: number): Promise<DistillationDraws> {
  const { settings } = context;
  const { batchSize, accumulation } = settings;
  const samplesPerStep = batchSize * accumulation;
  const firstOfStep = step * samplesPerStep;
  const microSteps = (phase: DistillationPhase) =>
    Promise.all(
      Array.from({ length: accumulation }, (_, i) => {
        const first = firstOfStep + i * batchSize;
        return drawPhase(context, phase, { step, first, count: batchSize, firstOfStep, batchSize: samplesPerStep });
      }),
    );
  return {
    initialMaskRatio: initialMaskRatioOf(settings, step),
    generator: isGeneratorStep(settings, step) ? await microSteps('generator') : [],
    auxiliary: await microSteps('auxiliary'),
  };
}

/** Inputs of samples in a phase, drawn. */
export async function drawPhaseInputs(
  context: DrawContext,
  phase: DistillationPhase,
  rows: SampleRows,
  onDevice: boolean,
): Promise<HostTree> {
  const { settings, generator } = context;
  const draws = await drawPhase(context, phase, rows, onDevice);
  const ratioUniforms = phaseStream(settings, phase, rows.firstOfStep, rows.batchSize)
    .fork('mask-ratio')
    .uniform(rows.batchSize);
  return phaseInputs(context, draws, {
    phase,
    step: rows.step,
    initialMaskRatio: initialMaskRatioOf(settings, rows.step),
    maskedCount: countMasked(
      maskScheduleOf(settings, phase),
      ratioUniforms,
      sequenceLength(generator.tokenSpace),
      settings.maskRatioRange,
    ),
  });
}

/** One ratio for all samples of an iteration. */
function initialMaskRatioOf({ seed, tokenInit }: ResolvedDistillation, step: number): number {
  return initialMaskRatio(
    tokenInit.maskRatio,
    randomStream(seed, step, 'distillation/initial-mask-ratio').uniform(1)[0]!,
  );
}

function phaseStream(
  { seed }: ResolvedDistillation,
  phase: DistillationPhase,
  first: number,
  count: number,
): RandomStream {
  return sampleStream(seed, first, count, `distillation/${phase}`);
}

/**
 * Random numbers of samples in a phase.
 *
 * @param onDevice - embedding noise and dropout are drawn when somebody reads them, on the device if it can.
 */
async function drawPhase(
  context: DrawContext,
  phase: DistillationPhase,
  { first, count }: SampleRows,
  onDevice = false,
): Promise<PhaseDraws> {
  const { settings, generator, teacher } = context;
  const { tokenSpace, embeddingWidth } = generator;
  const length = sequenceLength(tokenSpace);
  const stream = phaseStream(settings, phase, first, count);
  const uniform = (name: string, shape: readonly number[]) => float32(shape, stream.fork(name).uniform(sizeOf(shape)));
  const large = (kind: 'uniform' | 'normal', name: string, shape: readonly number[]) =>
    onDevice ? drawnTensor(shape, stream.fork(name), kind) : float32(shape, stream.fork(name)[kind](sizeOf(shape)));
  const dropout = (passes: Passes, name: string) =>
    Object.fromEntries(
      passes
        .filter(([role]) => settings.dropout[role] > 0)
        .flatMap(([role, { dropoutSites = {} }]) =>
          Object.entries(dropoutSites).map(([site, { shape }]) => [
            `${role}/${site}`,
            large('uniform', `${name}/${role}/${site}`, [count, ...shape]),
          ]),
        ),
    );
  const drawShape = [count, ...tokenDrawSpec(tokenSpace, settings.sampling).shape];
  const condition = await teacher.conditions.sample(stream.fork('condition'), count);
  checkConditions('conditions.sample of the teacher', teacher.model, condition, count, {
    allowNonFinite: true, // the run's own policy decides what becomes of it
  });
  const passes = passesOf(context, phase);
  return {
    condition,
    initialCodes: int32([count, length], stream.fork('codes').integers(count * length, tokenSpace.codebookSize)),
    initialMaskUniforms: uniform('initial-mask', [count, length]),
    ...(hasEmbeddingNoise(settings)
      ? { embeddingNoise: large('normal', 'embedding-noise', [count, length, embeddingWidth]) }
      : {}),
    tokenDraws: float32(drawShape, randomTokenDraws(stream.fork('tokens'), sizeOf(drawShape), settings.sampling)),
    maskRatioUniforms: uniform('mask-ratio', [count]),
    maskUniforms: uniform('mask', [count, length]),
    dropUniforms: uniform('drop', [count]),
    dropout: dropout(passes, 'dropout'),
    unconditionalDropout: dropout(
      passes.filter(([role]) => isGuided(guidanceOf(settings, phase, role))),
      'unconditional-dropout',
    ),
  };
}

/** Inputs of all micro-steps of an iteration on one rank. Pure. */
export function distillationInputs(
  context: DrawContext,
  draws: DistillationDraws,
  step: number,
): Record<DistillationPhase, HostTree[]> {
  const { settings } = context;
  const inputsOf = (phase: DistillationPhase) => {
    const counts = draws[phase].map(({ maskRatioUniforms, maskUniforms }) =>
      countMasked(
        maskScheduleOf(settings, phase),
        maskRatioUniforms.data,
        maskUniforms.shape[1]!,
        settings.maskRatioRange,
      ),
    );
    const maskedCount = counts.reduce((sum, count) => sum + count, 0);
    return draws[phase].map((drawn) =>
      phaseInputs(context, drawn, {
        phase,
        step,
        initialMaskRatio: draws.initialMaskRatio,
        maskedCount: drawn.maskedCount ?? maskedCount,
      }),
    );
  };
  return { generator: inputsOf('generator'), auxiliary: inputsOf('auxiliary') };
}

/** What turns draws into inputs. */
export interface PhaseInputOptions {
  readonly phase: DistillationPhase;
  readonly step: number;
  readonly initialMaskRatio: number;
  /** Masked positions over which the losses are means. @default those of the draws, which are the whole step */
  readonly maskedCount?: number;
}

/** Inputs of `generatorGradients` or `auxiliaryGradients` from draws. Pure. */
export function phaseInputs(context: DrawContext, draws: PhaseDraws, options: PhaseInputOptions): HostTree {
  const { settings, teacher, generator } = context;
  const { phase, step } = options;
  const batch = draws.initialCodes.shape[0]!;
  const { isMasked, maskRatio } = scheduledMask(
    maskScheduleOf(settings, phase),
    draws.maskRatioUniforms,
    draws.maskUniforms,
    settings.maskRatioRange,
  );
  const initial = { codes: draws.initialCodes, maskUniforms: draws.initialMaskUniforms };
  const inputs: HostTree = {
    initialTokens: initialTokens(initial, options.initialMaskRatio, generator.tokenSpace),
    tokenDraws: draws.tokenDraws,
    isMasked,
    maskedCount: scalar(options.maskedCount ?? isMasked.data.reduce((sum, masked) => sum + masked, 0)),
    ...withPrefix('condition', draws.condition),
  };
  const initialRatios = float32([batch], new Float32Array(batch).fill(options.initialMaskRatio));
  for (const [role, model] of passesOf(context, phase)) {
    const progress = { maskRatio: role === 'generator' ? initialRatios : maskRatio };
    Object.assign(inputs, timeInputs(model, progress, `time/${role}`));
  }
  if (draws.embeddingNoise) {
    inputs['embeddingNoise'] = scaledTensor(draws.embeddingNoise, context.noiseUnit);
    inputs['embeddingNoiseScale'] = scalar(embeddingNoiseScale(settings.tokenInit.embeddingNoise, step));
  }
  if (phase === 'generator' && isGuided(settings.teacherGuidance))
    inputs['teacherGuidanceScale'] = guidanceScales(settings.teacherGuidance, maskRatio);
  if (isGuided(auxiliaryGuidanceOf(settings, phase)))
    inputs['auxiliaryGuidanceScale'] = guidanceScales(auxiliaryGuidanceOf(settings, phase), maskRatio);
  if (phase === 'generator' && settings.ratioWeight !== 'constant')
    inputs['ratioWeight'] = float32(
      [batch],
      maskRatio.data.map((ratio) => (settings.ratioWeight === 'ratio' ? ratio : 1 / ratio)),
    );
  if (phase === 'auxiliary' && settings.conditionDrop > 0) {
    const isDropped = Array.from(draws.dropUniforms.data, (u) => u < settings.conditionDrop);
    Object.assign(
      inputs,
      withPrefix('auxiliaryCondition', dropConditions(draws.condition, teacher.nullCondition, isDropped)),
    );
  }
  if (isTeacherGuided(settings, phase))
    Object.assign(inputs, withPrefix('negativeCondition', withBatchAxis(negativeConditionOf(context))));
  if (isGuided(auxiliaryGuidanceOf(settings, phase)))
    Object.assign(inputs, withPrefix('nullCondition', withBatchAxis(teacher.nullCondition)));
  return {
    ...inputs,
    ...withPrefix('dropout', draws.dropout ?? {}),
    ...withPrefix('unconditionalDropout', draws.unconditionalDropout ?? {}),
  };
}

type Passes = readonly (readonly [NetworkRole, MaskedDiffusionModel])[];

/** The networks that a phase runs. */
function passesOf({ teacher, generator, auxiliary }: DrawContext, phase: DistillationPhase): Passes {
  return [
    ['generator', generator],
    ['auxiliary', auxiliary],
    ...(phase === 'generator' ? [['teacher', teacher.model] as const] : []),
  ];
}

function guidanceOf(settings: ResolvedDistillation, phase: DistillationPhase, role: NetworkRole): Guidance {
  if (role === 'generator') return 1;
  return role === 'teacher' ? settings.teacherGuidance : auxiliaryGuidanceOf(settings, phase);
}

function maskScheduleOf(settings: ResolvedDistillation, phase: DistillationPhase): MaskRatioSchedule {
  return phase === 'generator' ? settings.maskSchedule : settings.auxiliaryMaskSchedule;
}

function auxiliaryGuidanceOf(settings: ResolvedDistillation, phase: DistillationPhase): number {
  return phase === 'generator' ? settings.auxiliaryGuidance : settings.auxiliaryTrainingGuidance;
}

function isTeacherGuided(settings: ResolvedDistillation, phase: DistillationPhase): boolean {
  return phase === 'generator' && isGuided(settings.teacherGuidance);
}

function negativeConditionOf({ negativeCondition, teacher }: DrawContext): HostTree {
  return negativeCondition ?? teacher.nullCondition;
}
