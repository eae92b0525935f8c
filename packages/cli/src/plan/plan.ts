/**
 * What sampling and training a model will take, before anything is run: its functions are traced, their operations
 * counted, and divided by rates that a short probe of this machine has measured.
 */
import {
  compileMultiStep,
  compileOneStep,
  conditionSpecs,
  createDistillation,
  randomOneStepDraws,
  recomputeBlocks,
  sequenceLength,
  specsOf,
  subtree,
  withPrefix,
  type GeneratorTokenInit,
  type PureFunction,
  sizeOf,
  tokenDrawSpec,
  type SamplerRegistry,
  type SamplerSettings,
  type SpecTree,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import type { Tensor2D } from '@tensorflow/tfjs-core';
import type { DimoConfig } from '../config/schema.js';
import { distillationOptions } from '../training/distillation-settings.js';
import type { Recompute } from '../run/run-needs.js';
import { bytesOfSpecs } from '../run/spec-bytes.js';
import { addWork, noWeights, noWork, recordingEngine, workOf, zeros, type WorkCost } from './recording-engine.js';

/** Rates of this machine. */
export interface MachineRates {
  readonly engine: string;
  /** Floating-point operations per second of matrix products. */
  readonly matrixOperations: number;
  /** Bytes per second that operators read and write which compute little. */
  readonly otherBytes: number;
}

/** What something takes. Times are absent where no engine was measured. */
export interface Estimate {
  readonly batchSize: number;
  /** Floating-point operations of matrix products and convolutions. */
  readonly operations: number;
  /** Weights or state, intermediate results, and state while it is replaced; without the program itself. */
  readonly memoryBytes: number;
  /** Of it, the largest sum of intermediate results. */
  readonly activationBytes: number;
  readonly seconds?: number;
}

/** A plan. */
export interface Plan {
  /** One batch of samples; `images` is false for sequences. */
  readonly sampling: Estimate & { readonly steps: number; readonly secondsPerSample?: number };
  /** One step of a distillation with the settings of the project. */
  readonly trainingStep: Estimate;
  /** How the numbers were found. */
  readonly basis: string;
}

/** What is planned for. */
export interface PlanRequest {
  readonly definition: TeacherDefinition;
  /** For a generator: how it is started. */
  readonly tokenInit?: GeneratorTokenInit;
  readonly config: Pick<DimoConfig, 'distill' | 'seed' | 'sample'>;
  /** For a teacher: sampler and options that go before its own. */
  readonly sampler?: SamplerSettings;
  /** Samplers by name. @default those of core */
  readonly samplers?: SamplerRegistry;
  readonly rates?: MachineRates | undefined;
}

/** Tokens of a batch in a plan: enough to keep a machine busy, few enough to be computed at once. */
const tokensPerBatch = 2 ** 14;

/** Makes a plan. */
export async function makePlan(request: PlanRequest): Promise<Plan> {
  const { definition, config, rates } = request;
  const length = sequenceLength(definition.model.tokenSpace);
  const batchSize = Math.max(1, Math.min(config.sample.batchSize, Math.floor(tokensPerBatch / length)));
  const { work, steps } = await samplingWork(request, batchSize);
  const sampling = estimate(work, rates, { batchSize, heldBytes: weightBytes(definition) });
  return {
    sampling: {
      ...sampling,
      steps,
      ...(sampling.seconds === undefined ? {} : { secondsPerSample: sampling.seconds / batchSize }),
    },
    trainingStep: await trainingEstimate(request),
    basis: rates
      ? `operations counted in the traced graphs, divided by what a probe of the engine ${rates.engine} has just measured: ${(rates.matrixOperations / 1e9).toFixed(1)} GFLOP/s in matrix products, ${(rates.otherBytes / 1e9).toFixed(1)} GB/s elsewhere; memory is weights, optimizer state and the largest sum of intermediate results, without the program itself; text encoders are not counted`
      : 'operations counted in the traced graphs; no engine was measured, so there are no times',
  };
}

function estimate(
  work: WorkCost,
  rates: MachineRates | undefined,
  { batchSize, heldBytes }: { readonly batchSize: number; readonly heldBytes: number },
): Estimate {
  return {
    batchSize,
    operations: work.matrixOperations,
    memoryBytes: heldBytes + work.peakBytes + work.replacedBytes,
    activationBytes: work.peakBytes,
    ...(rates ? { seconds: work.matrixOperations / rates.matrixOperations + work.otherBytes / rates.otherBytes } : {}),
  };
}

function weightBytes({ model, decoder }: TeacherDefinition): number {
  return bytesOfSpecs(Object.values(model.parameters)) + bytesOfSpecs(Object.values(decoder?.parameters ?? {}));
}

async function samplingWork(
  { definition, tokenInit, sampler: asked, samplers }: PlanRequest,
  batchSize: number,
): Promise<{ readonly work: WorkCost; readonly steps: number }> {
  const { model, decoder } = definition;
  const engine = recordingEngine();
  const condition = subtree('condition', zeros(conditionSpecs(model, batchSize)));
  let steps = 1;
  let passes = 1;
  if (tokenInit) {
    const sampler = await compileOneStep(engine, model, { batchSize, tokenInit });
    await sampler.sample(noWeights, condition, randomOneStepDraws(0, 0, sampler));
  } else {
    const sampler = await compileMultiStep(engine, definition, {
      batchSize,
      sampler: asked,
      samplers,
    });
    steps = sampler.maximumPasses;
    const numTokens = batchSize * sequenceLength(model.tokenSpace);
    const numDraws = batchSize * sizeOf(tokenDrawSpec(model.tokenSpace, sampler.sampling).shape);
    passes = 0;
    const none = {
      tokenDraws() {
        passes++;
        return new Float32Array(numDraws).fill(0.5);
      },
      uniform: () => new Float32Array(numTokens),
    };
    await sampler.sample(noWeights, { condition, draws: { ...none, gumbel: () => new Float64Array(numTokens) } });
  }
  // Samplers that take as many passes as they need end early on zeros: the plan is for the most that they take.
  const work = addWork(noWork, engine.work(), steps / Math.max(1, passes));
  if (!decoder) return { work, steps };
  const decode: PureFunction = (weights, { tokens }) => ({
    outputs: { images: decoder.decode(weights, tokens as Tensor2D) },
  });
  const shape = [batchSize, sequenceLength(model.tokenSpace)];
  const decoding = workOf(decode, { state: decoder.parameters, inputs: { tokens: { dtype: 'int32', shape } } });
  return { work: addWork(work, decoding), steps };
}

/** One step of a distillation of the teacher, or of the generator as if it were one. */
export async function trainingEstimate({
  definition,
  config,
  rates,
  recompute = 'none',
}: Pick<PlanRequest, 'definition' | 'rates'> & {
  readonly config: Pick<DimoConfig, 'distill' | 'seed'>;
  readonly recompute?: Recompute;
}): Promise<Estimate> {
  const options = distillationOptions(config);
  // The unit of the noise is read from weights, and costs the same whatever it is.
  const tokenInit = { ...options.tokenInit, noiseUnit: 'unit' as const };
  const { model } = definition;
  // Conditions of the right shapes: those of the teacher may need an engine.
  const conditions = {
    ...definition.conditions,
    sample: (_: unknown, count: number) => subtree('condition', zeros(conditionSpecs(model, count))),
  };
  const teacher = { ...definition, conditions, nullCondition: zeros(model.condition), weights: {} } as Teacher;
  const prepared = createDistillation(teacher, { ...options, tokenInit }, { separateCalls: true });
  const { settings, setup } = prepared;
  const program = recompute === 'blocks' ? recomputeBlocks(prepared.program) : prepared.program;
  const { accumulation, auxiliaryRounds } = settings;
  const trained = (phase: 'generator' | 'auxiliary'): SpecTree =>
    Object.fromEntries(
      Object.entries(setup.networks[phase].parameters).filter(([name]) => setup.trained[phase].has(name)),
    );
  const state: SpecTree = {
    ...withPrefix('teacher', setup.networks.teacher.parameters),
    ...withPrefix('ema', trained('generator')),
  };
  for (const phase of ['generator', 'auxiliary'] as const)
    Object.assign(
      state,
      withPrefix(phase, setup.networks[phase].parameters),
      withPrefix(`${phase}Optimizer/m`, trained(phase)),
      withPrefix(`${phase}Optimizer/v`, trained(phase)),
      accumulation > 1 ? withPrefix(`${phase}Gradients`, trained(phase)) : {},
    );
  const calls = program.calls(0, program.initialCounters, await program.draw(0, true));
  const scratch = program.scratch ?? {};
  const held = { ...state, ...scratch };
  const work = [...new Set(calls.map(({ fn }) => fn))]
    .map((name) => {
      const same = calls.filter(({ fn }) => fn === name);
      const { inputs, state: names } = same[0]!;
      const given = names ? Object.fromEntries(Object.entries(names).map(([own, of]) => [own, held[of]!])) : held;
      const rounds = name.startsWith('auxiliary') ? auxiliaryRounds : 1;
      const signature = { state: given, inputs: specsOf(inputs) };
      return { cost: workOf(program.functions[name]!, signature, scratch), times: rounds * same.length };
    })
    .reduce((sum, { cost, times }) => addWork(sum, cost, times), noWork);
  return estimate(work, rates, { batchSize: program.batchSize, heldBytes: bytesOfSpecs(Object.values(held)) });
}
