/** Distillation as a training program: its networks, their first weights, and its two phases. */
import { checkConditions } from '../model/check-conditions.js';
import { checkTree } from '../tensors/check-tree.js';
import { withBatchAxis } from '../model/guidance.js';
import {
  auxiliaryGradients,
  generatorGradients,
  type DistillationNetworks,
  type DistillationSetup,
} from './dimo-step.js';
import { drawPhaseInputs, type DrawContext } from './draws.js';
import { resolveDistillation, type DistillationOptions, type ResolvedDistillation } from './options.js';
import { checkSameSpace, type DistillationModels, type PreparedDistillation } from './algorithm.js';
import type { MaskedDiffusionModel, Teacher } from '../model/model.js';
import { modelState, type ModelState } from '../model/model-state.js';
import { randomStream } from '../random/random.js';
import { learningRateFactor, movingAverageDecay } from '../model/schedule.js';
import { withPrefix, type HostTree } from '../tensors/tensors.js';
import { embeddingRms } from '../sampling/token-init.js';
import type { Phase } from '../training/phase.js';
import { phaseProgram, type Shard } from '../training/phase-program.js';

/** A distillation: the program, and what samplers need to run on its live state. */
export interface Distillation extends PreparedDistillation {
  readonly settings: ResolvedDistillation;
  readonly setup: DistillationSetup;
  /** For `phaseInputs`. */
  readonly context: DrawContext;
  /** Where each model's weights are in the state; `ema` is the averaged generator, the model that is evaluated. */
  readonly models: Readonly<Record<'teacher' | 'auxiliary' | 'generator' | 'ema', ModelState>>;
}

/** What else a distillation can be given. */
export interface DistillationExtras {
  readonly models?: DistillationModels;
  /**
   * What the teacher's guidance leads away from, tensors without batch axis: the condition of a negative prompt.
   * @default the teacher's null condition
   */
  readonly negativeCondition?: HostTree;
  /** See `DistillationSetup.trace`; each phase is a call of its own then. @default false */
  readonly trace?: boolean;
  /** See `PhaseProgramOptions.separateCalls`. @default false */
  readonly separateCalls?: boolean;
  /** See `PhaseProgramOptions.groupedUpdate`. */
  readonly groupedUpdate?: boolean;
  /** See `PhaseProgramOptions.shard`. */
  readonly shard?: Shard;
}

/**
 * Prepares a distillation.
 *
 * State: `teacher/<p>`, `auxiliary/<p>`, `generator/<p>`; `ema/<p>` of the trained parameters;
 * `generatorOptimizer/{m,v}/<p>`, `auxiliaryOptimizer/{m,v}/<p>`; with accumulation also `generatorGradients/<p>` and
 * `auxiliaryGradients/<p>`. Counters: `generatorUpdates`, `auxiliaryUpdates`, `skipped`.
 *
 * @throws OptionError for a wrong setting or networks whose token spaces or conditions differ.
 */
export function createDistillation(
  teacher: Teacher,
  options: DistillationOptions = {},
  {
    models = {},
    negativeCondition,
    trace = false,
    separateCalls = trace,
    groupedUpdate,
    shard,
  }: DistillationExtras = {},
): Distillation {
  const settings = resolveDistillation(options);
  const networks: DistillationNetworks = {
    teacher: teacher.model,
    auxiliary: models.auxiliary?.model ?? teacher.model,
    generator: models.generator?.model ?? teacher.model,
  };
  for (const role of ['auxiliary', 'generator'] as const) checkSameSpace(teacher.model, networks[role], role);
  if (negativeCondition)
    checkConditions('distillation: negativeCondition', teacher.model, withBatchAxis(negativeCondition), 1);
  const trainedNames = (model: MaskedDiffusionModel) =>
    new Set(
      Object.keys(model.parameters).filter(
        (name) => settings.trainEmbeddings || !model.embeddingParameters.includes(name),
      ),
    );
  const setup: DistillationSetup = {
    networks,
    settings,
    trained: { generator: trainedNames(networks.generator), auxiliary: trainedNames(networks.auxiliary) },
    trace,
  };
  const firstWeights = (role: 'generator' | 'auxiliary'): HostTree =>
    models[role]?.weights ?? defaultWeights(teacher, networks[role], settings.seed);
  const { embeddingNoise, noiseUnit } = settings.tokenInit;
  const isRelative = noiseUnit === 'embedding-rms' && embeddingNoise.scale > 0;
  const context: DrawContext = {
    teacher,
    generator: networks.generator,
    auxiliary: networks.auxiliary,
    settings,
    ...(negativeCondition ? { negativeCondition } : {}),
    noiseUnit: isRelative ? embeddingRms(networks.generator, firstWeights('generator')) : 1,
  };
  const { architecture } = models.generator ?? {};
  const ema = averageState(setup);
  return {
    algorithm: 'dimo',
    frozen: ['teacher'],
    generator: {
      model: networks.generator,
      weights: ema,
      // The noise of the end of its schedule.
      sampling: {
        tokenInit: {
          maskRatio: settings.tokenInit.maskRatio,
          embeddingNoise: embeddingNoise.scale,
          noiseDeviation: context.noiseUnit,
        },
      },
      ...(architecture ? { architecture } : {}),
    },
    settings,
    setup,
    context,
    models: {
      teacher: modelState(networks.teacher, 'teacher'),
      auxiliary: modelState(networks.auxiliary, 'auxiliary'),
      generator: modelState(networks.generator, 'generator'),
      ema,
    },
    program: phaseProgram({
      name: 'distillation',
      numSteps: settings.numSteps,
      batchSize: settings.batchSize,
      accumulation: settings.accumulation,
      onNonFinite: settings.onNonFinite,
      phases: [generatorPhase(setup, context), auxiliaryPhase(setup, context)],
      initialWeights: () =>
        initialWeights(teacher, networks, {
          generator: firstWeights('generator'),
          auxiliary: firstWeights('auxiliary'),
        }),
      trace,
      separateCalls,
      ...(groupedUpdate === undefined ? {} : { groupedUpdate }),
      ...(shard ? { shard } : {}),
    }),
  };
}

/** Algorithm 1, "update theta": every `auxiliaryRounds`-th iteration. */
function generatorPhase(setup: DistillationSetup, context: DrawContext): Phase {
  const { settings, networks } = setup;
  return {
    name: 'generator',
    every: settings.auxiliaryRounds,
    trains: trainedOf(setup, 'generator'),
    draw: (rows, onDevice) => drawPhaseInputs(context, 'generator', rows, onDevice),
    gradients: (state, inputs) => generatorGradients(setup, state, inputs),
    optimizer: settings.generatorOptimizer,
    learningRate: (step) => settings.generatorLearningRate * rateFactor(settings, step),
    average: {
      prefix: 'ema',
      decay: (updates) =>
        updates % settings.averageEvery === 0 ? movingAverageDecay(settings.averageDecay, updates) : 1,
    },
    metrics(outputs) {
      const drawn = outputs.flatMap(({ tokens }) => [...tokens!.data]);
      return { codebookUsed: new Set(drawn).size / networks.teacher.tokenSpace.codebookSize };
    },
  };
}

/** Algorithm 1, "update psi": every iteration. */
function auxiliaryPhase(setup: DistillationSetup, context: DrawContext): Phase {
  const { settings } = setup;
  return {
    name: 'auxiliary',
    trains: trainedOf(setup, 'auxiliary'),
    draw: (rows, onDevice) => drawPhaseInputs(context, 'auxiliary', rows, onDevice),
    gradients: (state, inputs) => auxiliaryGradients(setup, state, inputs),
    optimizer: settings.auxiliaryOptimizer,
    learningRate: (step) => settings.auxiliaryLearningRate * rateFactor(settings, step),
  };
}

function trainedOf({ networks, trained }: DistillationSetup, network: 'generator' | 'auxiliary'): Phase['trains'] {
  const parameters = Object.entries(networks[network].parameters).filter(([name]) => trained[network].has(name));
  return { prefix: network, parameters: Object.fromEntries(parameters) };
}

function rateFactor({ learningRateSchedule, numSteps }: ResolvedDistillation, step: number): number {
  return learningRateFactor(learningRateSchedule, step, numSteps);
}

function defaultWeights(teacher: Teacher, model: MaskedDiffusionModel, seed: number): HostTree {
  return model === teacher.model ? teacher.weights : model.initialize(randomStream(seed, 0, `${model.name}/weights`));
}

function initialWeights(
  teacher: Teacher,
  networks: DistillationNetworks,
  first: Readonly<Record<'generator' | 'auxiliary', HostTree>>,
): HostTree {
  checkTree('teacher weights', networks.teacher.parameters, teacher.weights);
  checkTree('generator weights', networks.generator.parameters, first.generator);
  checkTree('auxiliary weights', networks.auxiliary.parameters, first.auxiliary);
  return {
    ...withPrefix('teacher', teacher.weights),
    ...withPrefix('generator', first.generator),
    ...withPrefix('auxiliary', first.auxiliary),
  };
}

/** The averaged generator: its trained parameters from `ema/`, the fixed ones from `generator/`. */
function averageState({ networks, trained }: DistillationSetup): ModelState {
  const { parameters } = networks.generator;
  const stateName = (name: string) => `${trained.generator.has(name) ? 'ema' : 'generator'}/${name}`;
  return {
    specs: Object.fromEntries(Object.entries(parameters).map(([name, spec]) => [stateName(name), spec])),
    weights: (state) => Object.fromEntries(Object.keys(parameters).map((name) => [name, state[stateName(name)]!])),
  };
}
