/** Replays a golden trace: the draws of the official run in place of our own, everything recorded. */
import {
  distillationInputs,
  runTraining,
  type Distillation,
  type DistillationDraws,
  type HostTree,
  type PhaseDraws,
  type PhaseInputs,
  type TrainingProgram,
} from '@dimo/core';
import type { EngineUnderTest } from './engines.js';

/** What is replayed. */
export interface GoldenTrace {
  readonly distillation: Distillation;
  draws(step: number): DistillationDraws;
}

/** Everything that a run produced. */
export interface ReplayedRun {
  /** Outputs of the calls of each step. */
  readonly outputs: readonly (readonly HostTree[])[];
  readonly metrics: readonly Readonly<Record<string, number>>[];
  readonly state: HostTree;
}

/** Runs all steps of a trace on a new engine. */
export async function replay(engine: EngineUnderTest, { distillation, draws }: GoldenTrace): Promise<ReplayedRun> {
  const outputs: (readonly HostTree[])[] = [];
  const metrics: Readonly<Record<string, number>>[] = [];
  const { program, context } = distillation;
  const replayed: TrainingProgram<PhaseInputs> = {
    ...program,
    draw: (step) => replayedInputs(context, draws(step), step),
    finish(step, counters, results) {
      outputs.push(results);
      return program.finish(step, counters, results);
    },
  };
  const running = await engine.create();
  try {
    const { state } = await runTraining(replayed, {
      engine: running,
      onStep: (report) => void metrics.push(report.metrics),
    });
    return { outputs, metrics, state };
  } finally {
    await running.dispose();
  }
}

/** The original averages the means of the micro-steps, where ours is the mean over the masked positions of all. */
function replayedInputs(context: Distillation['context'], draws: DistillationDraws, step: number): PhaseInputs {
  const means = (phase: 'generator' | 'auxiliary'): PhaseDraws[] =>
    draws[phase].map((drawn) => {
      const alone = distillationInputs(context, { ...draws, generator: [], auxiliary: [], [phase]: [drawn] }, step);
      const [inputs] = alone[phase]!;
      return { ...drawn, maskedCount: draws[phase].length * inputs!['maskedCount']!.data[0]! };
    });
  return distillationInputs(context, { ...draws, generator: means('generator'), auxiliary: means('auxiliary') }, step);
}
