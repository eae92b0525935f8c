/**
 * Distillation as a training program: the state, the order of the device calls, learning rates and counters around the
 * step of distill.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import { checkConditions } from '../model/check-conditions.js';
import { checkTree } from '../tensors/check-tree.js';
import { withBatchAxis } from '../model/guidance.js';
import {
  auxiliaryGradients,
  auxiliaryUpdate,
  generatorGradients,
  generatorUpdate,
  type DistillationNetworks,
  type DistillationSetup,
} from './dimo-step.js';
import {
  distillationInputs,
  drawDistillation,
  isGeneratorStep,
  phaseInputSpecs,
  type DistillationInputs,
  type DistillationPhase,
  type DrawContext,
} from './draws.js';
import { resolveDistillation, type DistillationOptions, type ResolvedDistillation } from './options.js';
import type { PureFunction } from '../engine/engine.js';
import { OptionError } from '../errors.js';
import type { MaskedDiffusionModel, Teacher } from '../model/model.js';
import { modelState, type ModelState } from '../model/model-state.js';
import { initialMoments, optimizerScalars, optimizerScalarSpecs } from '../training/optimizer.js';
import { randomStream } from '../random/random.js';
import { learningRateFactor, movingAverageDecay } from '../model/schedule.js';
import {
  float32,
  scalar,
  subtree,
  withPrefix,
  type HostTree,
  type SpecTree,
  type TensorTree,
} from '../tensors/tensors.js';
import { embeddingRms } from '../sampling/token-init.js';
import type { Counters, StepCall, TrainingProgram } from '../training/training.js';
import { finishStep, type UpdateOutputs } from '../training/training-result.js';

/** A distillation: the program, and what samplers need to run on its live state. */
export interface Distillation {
  readonly program: TrainingProgram<DistillationInputs>;
  readonly settings: ResolvedDistillation;
  readonly setup: DistillationSetup;
  /** For `phaseInputs`. */
  readonly context: DrawContext;
  /** Where each model's weights are in the state; `ema` is the averaged generator, the model that is evaluated. */
  readonly models: Readonly<Record<'teacher' | 'auxiliary' | 'generator' | 'ema', ModelState>>;
}

/** First weights, where they are not the teacher's. */
export interface DistillationWeights {
  readonly generator?: HostTree;
  readonly auxiliary?: HostTree;
}

/** What else a distillation can be given. */
export interface DistillationExtras {
  readonly initial?: DistillationWeights;
  /**
   * What the teacher's guidance leads away from, tensors without batch axis: the condition of a negative prompt.
   * @default the teacher's null condition
   */
  readonly negativeCondition?: HostTree;
  /** See `DistillationSetup.trace`. @default false */
  readonly trace?: boolean;
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
  { initial = {}, negativeCondition, trace = false }: DistillationExtras = {},
): Distillation {
  const settings = resolveDistillation(options);
  const networks: DistillationNetworks = {
    teacher: teacher.model,
    auxiliary: teacher.auxiliary ?? teacher.model,
    generator: teacher.generator ?? teacher.model,
  };
  checkNetworks(networks);
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
  const firstWeights = {
    generator: () =>
      initial.generator ??
      teacher.createGenerator?.(randomStream(settings.seed, 0, 'generator/weights')) ??
      defaultWeights(teacher, networks.generator, settings.seed),
    auxiliary: () =>
      initial.auxiliary ??
      teacher.createAuxiliary?.(randomStream(settings.seed, 0, 'auxiliary/weights')) ??
      defaultWeights(teacher, networks.auxiliary, settings.seed),
  };
  const { embeddingNoise, noiseUnit } = settings.tokenInit;
  const isRelative = noiseUnit === 'embedding-rms' && embeddingNoise.scale > 0;
  const context: DrawContext = {
    teacher,
    generator: networks.generator,
    auxiliary: networks.auxiliary,
    settings,
    ...(negativeCondition ? { negativeCondition } : {}),
    noiseUnit: isRelative ? embeddingRms(networks.generator, firstWeights.generator()) : 1,
  };
  return {
    settings,
    setup,
    context,
    models: {
      teacher: modelState(networks.teacher, 'teacher'),
      auxiliary: modelState(networks.auxiliary, 'auxiliary'),
      generator: modelState(networks.generator, 'generator'),
      ema: averageState(setup),
    },
    program: {
      name: 'distillation',
      numSteps: settings.numSteps,
      batchSize: settings.batchSize * settings.accumulation,
      functions: stepFunctions(setup, context),
      initialState: () =>
        initialState(teacher, setup, { generator: firstWeights.generator(), auxiliary: firstWeights.auxiliary() }),
      initialCounters: { generatorUpdates: 0, auxiliaryUpdates: 0, skipped: 0 },
      // Made ahead of time, while the device works; only scalars are left for `calls`.
      draw: async (step, onDevice) =>
        distillationInputs(context, await drawDistillation(context, step, onDevice), step),
      calls: (step, counters, inputs) => [
        ...phaseCalls(settings, 'generator', { step, counters, inputs }),
        ...phaseCalls(settings, 'auxiliary', { step, counters, inputs }),
      ],
      finish: (step, counters, outputs) => finish(settings, { step, counters, outputs }, networks.teacher),
    },
  };
}

function defaultWeights(teacher: Teacher, model: MaskedDiffusionModel, seed: number): HostTree {
  return model === teacher.model ? teacher.weights : model.initialize(randomStream(seed, 0, `${model.name}/weights`));
}

function initialState(teacher: Teacher, setup: DistillationSetup, first: Required<DistillationWeights>): HostTree {
  const { networks, trained, settings } = setup;
  checkTree('teacher weights', networks.teacher.parameters, teacher.weights);
  checkTree('generator weights', networks.generator.parameters, first.generator);
  checkTree('auxiliary weights', networks.auxiliary.parameters, first.auxiliary);
  const pick = <T>(tree: Record<string, T>, names: ReadonlySet<string>) =>
    Object.fromEntries(Object.entries(tree).filter(([name]) => names.has(name)));
  const state: HostTree = {
    ...withPrefix('teacher', teacher.weights),
    ...withPrefix('generator', first.generator),
    ...withPrefix('auxiliary', first.auxiliary),
    ...withPrefix('ema', pick(first.generator, trained.generator)),
  };
  for (const phase of ['generator', 'auxiliary'] as const) {
    const parameters = pick(networks[phase].parameters, trained[phase]);
    Object.assign(state, withPrefix(`${phase}Optimizer`, initialMoments(parameters)));
    if (settings.accumulation > 1)
      for (const [name, { shape }] of Object.entries(parameters)) state[`${phase}Gradients/${name}`] = float32(shape);
  }
  return state;
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

const updates = { generator: generatorUpdate, auxiliary: auxiliaryUpdate } as const;
const gradientsOf = { generator: generatorGradients, auxiliary: auxiliaryGradients } as const;

/** Without accumulation one function per phase; with it, one that adds gradients and one that updates. */
function stepFunctions(setup: DistillationSetup, context: DrawContext): TrainingProgram['functions'] {
  const functions: Record<string, { fn: PureFunction; inputs: SpecTree }> = {};
  for (const phase of ['generator', 'auxiliary'] as const) {
    const inputs = phaseInputSpecs(context, phase);
    const updateInputs: SpecTree = {
      ...withPrefix('optimizer', optimizerScalarSpecs),
      ...(phase === 'generator' ? { averageRate: { dtype: 'float32', shape: [] } } : {}),
    };
    if (setup.settings.accumulation === 1)
      functions[phase] = { fn: stepFunction(setup, phase), inputs: { ...inputs, ...updateInputs } };
    else {
      functions[`${phase}Gradients`] = { fn: accumulateFunction(setup, phase), inputs };
      functions[`${phase}Update`] = { fn: accumulatedUpdate(setup, phase), inputs: updateInputs };
    }
  }
  return functions;
}

function stepFunction(setup: DistillationSetup, phase: DistillationPhase): PureFunction {
  return (state, inputs) => {
    const { gradients, outputs } = gradientsOf[phase](setup, state, inputs);
    const update = updates[phase](setup, state, { gradients, inputs, loss: outputs['loss']! });
    return { state: update.state, outputs: { ...outputs, ...update.outputs, ...traced(setup, gradients) } };
  };
}

function accumulateFunction(setup: DistillationSetup, phase: DistillationPhase): PureFunction {
  return (state, inputs) => {
    const { gradients, outputs } = gradientsOf[phase](setup, state, inputs);
    const sums: TensorTree = {};
    for (const [name, gradient] of Object.entries(gradients)) {
      const key = `${phase}Gradients/${name}`;
      sums[key] = tf.add(state[key]!, tf.div(gradient, setup.settings.accumulation));
    }
    return { state: sums, outputs: { ...outputs, ...traced(setup, gradients) } };
  };
}

/** `gradient/<p>`, if the step is traced. */
function traced(setup: DistillationSetup, gradients: TensorTree): TensorTree {
  return setup.trace ? withPrefix('gradient', gradients) : {};
}

function accumulatedUpdate(setup: DistillationSetup, phase: DistillationPhase): PureFunction {
  return (state, inputs) => {
    const gradients = subtree(`${phase}Gradients`, state);
    const update = updates[phase](setup, state, { gradients, inputs });
    const zeros = Object.fromEntries(Object.entries(gradients).map(([name, sum]) => [name, tf.zerosLike(sum)]));
    return { state: { ...update.state, ...withPrefix(`${phase}Gradients`, zeros) }, outputs: update.outputs };
  };
}

interface StepArguments {
  readonly step: number;
  readonly counters: Counters;
}

function phaseCalls(
  settings: ResolvedDistillation,
  phase: DistillationPhase,
  { step, counters, inputs }: StepArguments & { readonly inputs: DistillationInputs },
): StepCall[] {
  const microSteps = inputs[phase];
  if (microSteps.length === 0) return [];
  const { generatorUpdates = 0, auxiliaryUpdates = 0 } = counters;
  const isGenerator = phase === 'generator';
  const scalars = withPrefix(
    'optimizer',
    optimizerScalars(
      isGenerator ? settings.generatorOptimizer : settings.auxiliaryOptimizer,
      learningRates(settings, step)[phase],
      isGenerator ? generatorUpdates : auxiliaryUpdates,
    ),
  );
  if (isGenerator) scalars['averageRate'] = scalar(1 - averageDecayAt(settings, generatorUpdates));
  if (settings.accumulation === 1) return [{ fn: phase, inputs: { ...microSteps[0]!, ...scalars } }];
  return [
    ...microSteps.map((values) => ({ fn: `${phase}Gradients`, inputs: values })),
    { fn: `${phase}Update`, inputs: scalars },
  ];
}

function learningRates(settings: ResolvedDistillation, step: number): Record<DistillationPhase, number> {
  const factor = learningRateFactor(settings.learningRateSchedule, step, settings.numSteps);
  return {
    generator: settings.generatorLearningRate * factor,
    auxiliary: settings.auxiliaryLearningRate * factor,
  };
}

/** Decay of the average at a generator update; 1 (no change) between updates of the average. */
function averageDecayAt(settings: ResolvedDistillation, generatorUpdates: number): number {
  if (generatorUpdates % settings.averageEvery !== 0) return 1;
  return movingAverageDecay(settings.averageDecay, generatorUpdates);
}

function finish(
  settings: ResolvedDistillation,
  { step, counters, outputs }: StepArguments & { readonly outputs: readonly HostTree[] },
  model: MaskedDiffusionModel,
) {
  const metrics: Record<string, number> = {};
  const updated: UpdateOutputs[] = [];
  const callsPerPhase = settings.accumulation === 1 ? 1 : settings.accumulation + 1;
  const rates = learningRates(settings, step);
  let next = 0;
  for (const phase of ['generator', 'auxiliary'] as const) {
    if (phase === 'generator' && !isGeneratorStep(settings, step)) continue;
    const results = outputs.slice(next, next + callsPerPhase);
    next += callsPerPhase;
    updated.push({ counter: `${phase}Updates`, prefix: `${phase}/`, outputs: meanOfScalars(results) });
    metrics[`${phase}/learningRate`] = rates[phase];
    if (phase === 'generator') {
      metrics['generator/averageDecay'] = averageDecayAt(settings, counters['generatorUpdates'] ?? 0);
      const drawn = results.flatMap(({ tokens }) => (tokens ? [...tokens.data] : []));
      metrics['generator/codebookUsed'] = new Set(drawn).size / model.tokenSpace.codebookSize;
    }
  }
  return finishStep({
    program: 'distillation',
    step,
    counters,
    policy: settings.onNonFinite,
    updates: updated,
    metrics,
  });
}

/** Scalars of several calls; those of several micro-steps are averaged. */
function meanOfScalars(results: readonly HostTree[]): HostTree {
  const means: HostTree = {};
  for (const name of new Set(results.flatMap((result) => Object.keys(result)))) {
    const values = results.flatMap((result) => result[name] ?? []);
    if (values[0]!.shape.length > 0) continue;
    means[name] = scalar(values.reduce((sum, { data }) => sum + data[0]!, 0) / values.length);
  }
  return means;
}

function checkNetworks({ teacher, auxiliary, generator }: DistillationNetworks): void {
  const facts = (model: MaskedDiffusionModel) =>
    JSON.stringify({ tokenSpace: model.tokenSpace, condition: model.condition });
  for (const [role, model] of Object.entries({ auxiliary, generator }))
    if (facts(model) !== facts(teacher))
      throw new OptionError(
        `distillation: the ${role} model "${model.name}" must have the teacher's token space and condition, got ${facts(model)}, the teacher has ${facts(teacher)}`,
      );
}
