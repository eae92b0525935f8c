/** A distillation that can be watched, paused, saved from and continued on another engine. */
import type { DimoError } from '@dimo/core';
import {
  compileDecoder,
  compileOneStep,
  createDistillation,
  describeGenerator,
  generatorBundle,
  OptionError,
  runTraining,
  sampleOneStep,
  type Engine,
  type HostTree,
  type StepReport,
  type Teacher,
  type TrainingSnapshot,
} from '@dimo/core';
import { letMessagesIn } from '../generate/let-messages-in.js';
import type { DistillEvent, DistillParameters, DownloadedFile } from './methods.js';
import { picturesOf } from './pictures.js';

/** What a run needs. */
export interface DistillationTask {
  readonly engine: Engine;
  /** With conditions that are ready. */
  readonly teacher: Teacher;
  readonly parameters: DistillParameters;
  /** Temperature that the distilled generator recommends, and that its samples are drawn with. */
  readonly temperature: number;
  readonly signal: AbortSignal;
  emit(event: DistillEvent): void;
}

/** The distillation of a worker; one at a time. */
export interface DistillationRunner {
  run(task: DistillationTask): Promise<{ readonly step: number; readonly done: boolean }>;
  /** Takes effect at the next step boundary. */
  pause(paused: boolean): void;
  /** The generator as of the last step, in one file. @throws OptionError if nothing has been distilled */
  download(): Promise<DownloadedFile>;
}

/** Makes a runner without a run. */
export function distillationRunner(): DistillationRunner {
  let isRunning = false;
  let isPaused = false;
  /** Wakes a run that is paused. */
  let wake: (() => void) | undefined;
  /** What the run before can be continued from, and with which settings. */
  let last: { readonly key: string; readonly snapshot: TrainingSnapshot } | undefined;
  /** Reads the averaged generator where the run stands. */
  let read: (() => Promise<DownloadedFile>) | undefined;
  /** Downloads that wait for the next step boundary. */
  let waiting: (() => Promise<void>)[] = [];

  async function serveWaiting(): Promise<void> {
    const tasks = waiting;
    waiting = [];
    for (const task of tasks) await task();
  }

  async function run({ engine, teacher, parameters, temperature, signal, emit }: DistillationTask) {
    if (isRunning) throw new OptionError('a distillation is running; stop it first');
    const { options, sampleTexts, sampleEvery = 20, resume = false } = parameters;
    const key = JSON.stringify({ options, teacher: teacher.config, name: teacher.name });
    if (resume && last?.key !== key)
      throw new OptionError('there is no run of these settings to continue', { hint: 'start a new one' });
    const from = resume ? last?.snapshot : undefined;
    isRunning = true;
    isPaused = false;
    if (!resume) last = read = undefined;
    const distillation = createDistillation(teacher, options);
    const { settings, models } = distillation;
    const description = describeGenerator(teacher, distillation, {
      temperature,
      training: { batchSize: settings.batchSize, seed: settings.seed, engine: engine.info.name },
    });
    const saved = (state: HostTree, step: number): DownloadedFile => ({
      name: 'one-step-generator.safetensors',
      bytes: generatorBundle({
        description: { ...description, training: { ...description.training, steps: step } },
        // Picks names; host tensors do as well as device tensors.
        weights: (models.ema.weights as unknown as (tree: HostTree) => HostTree)(state),
        ...(teacher.decoderWeights ? { decoderWeights: teacher.decoderWeights } : {}),
        ...(teacher.conditionFiles ? { conditionFiles: teacher.conditionFiles() } : {}),
      }),
    });
    const samples = sampler({ engine, teacher, distillation, sampleTexts, temperature });
    const wakeUp = (): void => wake?.();
    signal.addEventListener('abort', wakeUp);
    let begun = performance.now();
    try {
      const result = await runTraining(distillation.program, {
        engine,
        signal,
        ...(from ? { from } : {}),
        async onStep(report) {
          const { step, metrics } = report;
          emit({ kind: 'step', step, numSteps: settings.numSteps, milliseconds: performance.now() - begun, metrics });
          read = async () => saved((await report.snapshot()).state, step);
          if (step % sampleEvery === 0 || step === 1 || step === settings.numSteps) {
            last = { key, snapshot: await report.snapshot() };
            emit({ kind: 'samples', step, pictures: await samples.draw(report) });
          }
          await letMessagesIn();
          await serveWaiting();
          if (isPaused) {
            emit({ kind: 'paused', step });
            while (isPaused && !signal.aborted) {
              await new Promise<void>((resolve) => (wake = resolve));
              wake = undefined;
              await serveWaiting();
            }
            emit({ kind: 'resumed', step });
          }
          begun = performance.now();
        },
      });
      last = { key, snapshot: result };
      return { step: result.step, done: !result.stopped };
    } finally {
      signal.removeEventListener('abort', wakeUp);
      isRunning = false;
      // From here on, what was last read from the device is what there is.
      read = last ? () => Promise.resolve(saved(last!.snapshot.state, last!.snapshot.step)) : undefined;
      await serveWaiting();
      await samples.dispose().catch(() => undefined);
    }
  }

  return {
    run,
    pause(paused) {
      isPaused = paused;
      wake?.();
    },
    download() {
      if (!isRunning && !read) return Promise.reject(nothingYet());
      if (!isRunning) return read!();
      return new Promise((resolve, reject) => {
        waiting.push(() => (read ? read() : Promise.reject(nothingYet())).then(resolve, reject));
        wake?.();
      });
    },
  };
}

function nothingYet(): DimoError {
  return new OptionError('nothing has been distilled yet', { hint: 'start a distillation first' });
}

interface SamplerTask {
  readonly engine: Engine;
  readonly teacher: Teacher;
  readonly distillation: ReturnType<typeof createDistillation>;
  readonly sampleTexts: readonly string[];
  readonly temperature: number;
}

/** Images of the averaged generator, with the same conditions and random numbers at every step. */
function sampler({ engine, teacher, distillation, sampleTexts, temperature }: SamplerTask) {
  const batchSize = sampleTexts.length;
  let ready: ReturnType<typeof prepare> | undefined;

  async function prepare() {
    const { decoder, decoderWeights } = teacher;
    if (!decoder || !decoderWeights) throw new OptionError('this teacher makes no images');
    return {
      compiled: await compileOneStep(engine, distillation.setup.networks.generator, {
        batchSize,
        tokenInit: distillation.generator.sampling.tokenInit!,
        sampling: { temperature },
        state: distillation.models.ema,
      }),
      decoder: await compileDecoder(engine, decoder, batchSize),
      decoderWeights: await engine.upload(decoderWeights),
      condition: await teacher.conditions.parse(sampleTexts),
    };
  }

  return {
    async draw({ deviceState }: Pick<StepReport, 'deviceState'>) {
      const { compiled, decoder, decoderWeights, condition } = await (ready ??= prepare());
      const tokens = await sampleOneStep(compiled, {
        weights: deviceState,
        condition,
        seed: distillation.settings.seed,
      });
      return picturesOf(await decoder.decode(decoderWeights, tokens));
    },
    async dispose(): Promise<void> {
      if (!ready) return;
      const { compiled, decoder, decoderWeights } = await ready;
      await compiled.dispose();
      await decoder.dispose();
      await decoderWeights.dispose();
    },
  };
}
