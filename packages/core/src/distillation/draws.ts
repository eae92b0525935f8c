/**
 * The random numbers of a distillation step, and the function inputs that follow from them. Everything random is drawn
 * here, on the host, from streams keyed by seed and step; a saved set of draws replays a step on any engine.
 */
import { checkConditions } from '../model/check-conditions.js';
import { dropConditions } from '../model/condition-drop.js';
import { drawnTensor, scaledTensor } from '../ops/drawn-tensor.js';
import type { NetworkRole, ResolvedDistillation } from './options.js';
import { conditionSpecs, guidanceScales, isGuided, withBatchAxis, type Guidance } from '../model/guidance.js';
import { scheduledMask } from '../model/masking.js';
import { type MaskedDiffusionModel, type Teacher } from '../model/model.js';
import { randomStream, type RandomStream } from '../random/random.js';
import { randomTokenDraws, tokenDrawSpec } from '../sampling/drawing-tokens.js';
import { embeddingNoiseScale } from '../model/schedule.js';
import {
  float32,
  int32,
  scalar,
  sizeOf,
  withPrefix,
  type HostTensor,
  type HostTree,
  type SpecTree,
} from '../tensors/tensors.js';
import { timeInputs, timeSpecs } from '../model/time-conditioning.js';
import { initialMaskRatio, initialTokens } from '../sampling/token-init.js';
import { sequenceLength } from '../model/token-space.js';

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
  /** Dropout uniforms, `<network>/<site>`; guided networks have a leading axis of twice the batch. */
  readonly dropout?: HostTree;
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

/** Function inputs of one iteration, one set per micro-step. */
export interface DistillationInputs {
  readonly generator: readonly HostTree[];
  readonly auxiliary: readonly HostTree[];
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

/**
 * Draws of an iteration; depends on seed and step alone.
 *
 * @param onDevice - embedding noise and dropout are drawn when somebody reads them, on the device if it can.
 */
export async function drawDistillation(
  context: DrawContext,
  step: number,
  onDevice = false,
): Promise<DistillationDraws> {
  const { settings } = context;
  const stream = (name: string) => randomStream(settings.seed, step, `distillation/${name}`);
  const microSteps = (phase: DistillationPhase) =>
    Promise.all(
      Array.from({ length: settings.accumulation }, (_, i) =>
        drawPhase(context, phase, { stream: stream(`${phase}/${i}`), onDevice }),
      ),
    );
  return {
    initialMaskRatio: initialMaskRatio(settings.tokenInit.maskRatio, stream('initial-mask-ratio').uniform(1)[0]!),
    generator: isGeneratorStep(settings, step) ? await microSteps('generator') : [],
    auxiliary: await microSteps('auxiliary'),
  };
}

async function drawPhase(
  context: DrawContext,
  phase: DistillationPhase,
  { stream, onDevice }: { readonly stream: RandomStream; readonly onDevice: boolean },
): Promise<PhaseDraws> {
  const { settings, generator, teacher } = context;
  const { batchSize } = settings;
  const { tokenSpace, embeddingWidth } = generator;
  const length = sequenceLength(tokenSpace);
  const uniform = (name: string, shape: readonly number[]) => float32(shape, stream.fork(name).uniform(sizeOf(shape)));
  const large = (kind: 'uniform' | 'normal', name: string, shape: readonly number[]) =>
    onDevice ? drawnTensor(shape, stream.fork(name), kind) : float32(shape, stream.fork(name)[kind](sizeOf(shape)));
  const drawShape = [batchSize, ...tokenDrawSpec(tokenSpace, settings.sampling).shape];
  const condition = await teacher.conditions.sample(stream.fork('condition'), batchSize);
  checkConditions('conditions.sample of the teacher', teacher.model, condition, batchSize, {
    allowNonFinite: true, // the run's own policy decides what becomes of it
  });
  return {
    condition,
    initialCodes: int32(
      [batchSize, length],
      stream.fork('codes').integers(batchSize * length, tokenSpace.codebookSize),
    ),
    initialMaskUniforms: uniform('initial-mask', [batchSize, length]),
    ...(hasEmbeddingNoise(settings)
      ? { embeddingNoise: large('normal', 'embedding-noise', [batchSize, length, embeddingWidth]) }
      : {}),
    tokenDraws: float32(drawShape, randomTokenDraws(stream.fork('tokens'), sizeOf(drawShape), settings.sampling)),
    maskRatioUniforms: uniform('mask-ratio', [batchSize]),
    maskUniforms: uniform('mask', [batchSize, length]),
    dropUniforms: uniform('drop', [batchSize]),
    dropout: Object.fromEntries(
      Object.entries(dropoutSpecs(context, phase)).map(([name, { shape }]) => [
        name,
        large('uniform', `dropout/${name}`, shape),
      ]),
    ),
  };
}

/** Inputs of all micro-steps of an iteration. Pure. */
export function distillationInputs(context: DrawContext, draws: DistillationDraws, step: number): DistillationInputs {
  const inputsOf = (phase: DistillationPhase) =>
    draws[phase].map((drawn) => phaseInputs(context, drawn, { phase, step, initialMaskRatio: draws.initialMaskRatio }));
  return { generator: inputsOf('generator'), auxiliary: inputsOf('auxiliary') };
}

/** What turns draws into inputs. */
export interface PhaseInputOptions {
  readonly phase: DistillationPhase;
  readonly step: number;
  readonly initialMaskRatio: number;
}

/** Inputs of `generatorGradients` or `auxiliaryGradients` from draws. Pure. */
export function phaseInputs(context: DrawContext, draws: PhaseDraws, options: PhaseInputOptions): HostTree {
  const { settings, teacher, generator } = context;
  const { phase, step } = options;
  const batch = draws.initialCodes.shape[0]!;
  const { isMasked, maskRatio } = scheduledMask(
    phase === 'generator' ? settings.maskSchedule : settings.auxiliaryMaskSchedule,
    draws.maskRatioUniforms,
    draws.maskUniforms,
    settings.maskRatioRange,
  );
  const initial = { codes: draws.initialCodes, maskUniforms: draws.initialMaskUniforms };
  const inputs: HostTree = {
    initialTokens: initialTokens(initial, options.initialMaskRatio, generator.tokenSpace),
    tokenDraws: draws.tokenDraws,
    isMasked,
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
  return { ...inputs, ...withPrefix('dropout', draws.dropout ?? {}) };
}

/** Specifications of what `phaseInputs` returns. */
export function phaseInputSpecs(context: DrawContext, phase: DistillationPhase): SpecTree {
  const { settings, teacher, generator } = context;
  const { batchSize } = settings;
  const row = [batchSize, sequenceLength(generator.tokenSpace)];
  const perSample = { dtype: 'float32', shape: [batchSize] } as const;
  const draws = tokenDrawSpec(generator.tokenSpace, settings.sampling);
  const isGenerator = phase === 'generator';
  const specs: SpecTree = {
    initialTokens: { dtype: 'int32', shape: row },
    tokenDraws: { ...draws, shape: [batchSize, ...draws.shape] },
    isMasked: { dtype: 'int32', shape: row },
    ...conditionSpecs(teacher.model, batchSize),
  };
  for (const [role, model] of passesOf(context, phase))
    Object.assign(specs, timeSpecs(model, batchSize, `time/${role}`));
  if (hasEmbeddingNoise(settings)) {
    specs['embeddingNoise'] = { dtype: 'float32', shape: [...row, generator.embeddingWidth] };
    specs['embeddingNoiseScale'] = { dtype: 'float32', shape: [] };
  }
  if (isGenerator && isGuided(settings.teacherGuidance)) specs['teacherGuidanceScale'] = perSample;
  if (isGuided(auxiliaryGuidanceOf(settings, phase))) specs['auxiliaryGuidanceScale'] = perSample;
  if (isGenerator && settings.ratioWeight !== 'constant') specs['ratioWeight'] = perSample;
  if (!isGenerator && settings.conditionDrop > 0)
    Object.assign(specs, conditionSpecs(teacher.model, batchSize, 'auxiliaryCondition'));
  if (isTeacherGuided(settings, phase)) Object.assign(specs, conditionSpecs(teacher.model, 1, 'negativeCondition'));
  if (isGuided(auxiliaryGuidanceOf(settings, phase)))
    Object.assign(specs, conditionSpecs(teacher.model, 1, 'nullCondition'));
  return { ...specs, ...withPrefix('dropout', dropoutSpecs(context, phase)) };
}

/** The networks that a phase runs. */
function passesOf(context: DrawContext, phase: DistillationPhase): [NetworkRole, MaskedDiffusionModel][] {
  const { teacher, generator, auxiliary } = context;
  return [
    ['generator', generator],
    ['auxiliary', auxiliary],
    ...(phase === 'generator' ? ([['teacher', teacher.model]] as [NetworkRole, MaskedDiffusionModel][]) : []),
  ];
}

/** Dropout uniforms of the networks that a phase runs, `<network>/<site>`; none where the rate is 0. */
function dropoutSpecs({ settings, teacher, generator, auxiliary }: DrawContext, phase: DistillationPhase): SpecTree {
  const specs: Record<string, SpecTree[string]> = {};
  const add = (role: NetworkRole, model: MaskedDiffusionModel, guidance: Guidance) => {
    if (settings.dropout[role] === 0) return;
    const rows = settings.batchSize * (isGuided(guidance) ? 2 : 1);
    for (const [site, { dtype, shape }] of Object.entries(model.dropoutSites ?? {}))
      specs[`${role}/${site}`] = { dtype, shape: [rows, ...shape] };
  };
  add('generator', generator, 1);
  add('auxiliary', auxiliary, auxiliaryGuidanceOf(settings, phase));
  if (phase === 'generator') add('teacher', teacher.model, settings.teacherGuidance);
  return specs;
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
