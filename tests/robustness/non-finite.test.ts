/**
 * Row C1 of the fault list: NaN or infinity in a loss, a gradient or the teacher's logits leaves weights, moments and
 * average as they were, is counted, and ends the run after ten steps in a row with exit code 1 and the name of the last
 * good checkpoint.
 */
import { chooseEngine, folderCheckpointStore } from '@dimo/backend-node';
import { findTeacher, loadRegistry } from '@dimo/cli';
import {
  createDistillation,
  loadLatestCheckpoint,
  runTraining,
  treeDifference,
  type DistillationOptions,
  type HostTree,
  type TrainingProgram,
} from '@dimo/core';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-non-finite-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** The program with one input of one function replaced at one step. */
function inject<D>(
  program: TrainingProgram<D>,
  at: { step: number; fn: string; input: string; value: number },
): TrainingProgram<D> {
  return {
    ...program,
    calls: (step, counters, draws) =>
      program.calls(step, counters, draws).map((call) => {
        const tensor = call.inputs[at.input];
        if (step !== at.step || call.fn !== at.fn || !tensor) return call;
        const data = new Float32Array(tensor.data.length).fill(at.value);
        return { ...call, inputs: { ...call.inputs, [at.input]: { ...tensor, data } as typeof tensor } };
      }),
  };
}

describe('a step that is not finite', { timeout: 60_000 }, () => {
  const injected = [
    ['NaN in the generator loss', { fn: 'generator', input: 'ratioWeight', value: NaN }],
    ['infinity in the generator loss', { fn: 'generator', input: 'ratioWeight', value: Infinity }],
    ['NaN in the generator gradient', { fn: 'generator', input: 'embeddingNoise', value: NaN }],
    ['NaN in the teacher logits', { fn: 'generator', input: 'teacherGuidanceScale', value: NaN }],
    ['NaN in the auxiliary loss', { fn: 'auxiliary', input: 'condition/strength', value: NaN }],
  ] as const;

  it.each(injected)('%s: weights before = after, and it is counted', async (_name, fault) => {
    const registry = await loadRegistry(['./support/toy-plugin.mjs'], tests, []);
    const { teacher } = await findTeacher({ plugin: 'toy', config: {} }, registry);
    const options: DistillationOptions = { numSteps: 6, batchSize: 4, ratioWeight: 'ratio', onNonFinite: 'skip' };
    const { program } = createDistillation(teacher, options, { separateCalls: true });
    const { engine } = await chooseEngine('cpu');
    const states: HostTree[] = [];
    const skipped: boolean[] = [];
    const step = 3;
    const result = await runTraining(inject(program, { step, ...fault }), {
      engine,
      onStep: async (report) => {
        states.push((await report.snapshot()).state);
        skipped.push(report.skipped === true);
      },
    });
    await engine.dispose();
    expect(skipped).toEqual([false, false, false, true, false, false]);
    expect(result.counters['skipped']).toBe(1);
    const own =
      fault.fn === 'generator' ? ['generator', 'ema', 'generatorOptimizer'] : ['auxiliary', 'auxiliaryOptimizer'];
    const part = (state: HostTree): HostTree =>
      Object.fromEntries(Object.entries(state).filter(([name]) => own.includes(name.split('/')[0]!)));
    expect(treeDifference(part(states[step - 1]!), part(states[step]!))).toBeUndefined();
    // The test would see a change: the step before did change them, and so does the one after.
    expect(treeDifference(part(states[step - 2]!), part(states[step - 1]!))).toBeDefined();
    expect(treeDifference(part(states[step]!), part(states[step + 1]!))).toBeDefined();
    for (const tensor of Object.values(result.state)) expect(tensor.data.every(Number.isFinite)).toBe(true);
  });

  it('ten in a row end the run with exit code 1, and the last good checkpoint is named', async () => {
    const { code, stderr } = await runDimo(
      [
        ...['distill', '--plugin', './support/toy-plugin.mjs', '--teacher-plugin', 'toy', '--engine', 'cpu'],
        ...['--steps', '60', '--batch', '4', '--runs', folder, '--name', 'nan', '--checkpoint-steps', '4'],
      ],
      { cwd: tests, env: { TOY_NAN_AFTER: '11' } },
    );
    expect(stderr).toContain('was skipped: a loss or gradient was not finite');
    expect(stderr).toContain('10 steps in a row');
    expect(stderr).toMatch(/the last good checkpoint is step-\d+(, saved just now)?; continue with --resume .*nan/);
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
    const loaded = await loadLatestCheckpoint(folderCheckpointStore(path.join(folder, 'nan', 'checkpoints')));
    expect(loaded?.step).toBeGreaterThanOrEqual(4);
  });
});
