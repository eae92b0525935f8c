/**
 * Row C7 of the fault list: a signal saves at the step boundary and exits with 0, a second SIGINT ends at once without
 * damage, a closed pipe is silent. `DIMO_SIGNALS=100` sends 100 signals at random times (4 by default); the seed is fixed.
 */
import { loadLatestCheckpoint, randomStream } from '@dimo/core';
import { folderCheckpointStore } from '@dimo/backend-node';
import { readFile } from 'node:fs/promises';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runDimo, startDimo, type RunningDimo } from '../support/run-dimo.js';

const numSignals = Number(process.env['DIMO_SIGNALS'] ?? 4);
const numSteps = 40;
const tests = fileURLToPath(new URL('..', import.meta.url));
let folder: string;

const flags = (name: string): string[] => [
  ...['distill', '--plugin', './support/toy-plugin.mjs', '--teacher-plugin', 'toy', '--engine', 'cpu', '--batch', '4'],
  ...['--steps', String(numSteps), '--runs', folder, '--name', name],
  ...['--set', 'log.everySeconds=0.001', '--set', 'distill.sampleEvery=0', '--set', 'log.tensorboard=false'],
];
const resumeFlags = (name: string): string[] => [
  ...['distill', '--plugin', './support/toy-plugin.mjs', '--resume', path.join(folder, name)],
];
const generatorBytes = (name: string): Promise<Buffer> =>
  readFile(path.join(folder, name, 'generator', 'model.safetensors'));
const latestStep = async (name: string): Promise<number | undefined> =>
  (await loadLatestCheckpoint(folderCheckpointStore(path.join(folder, name, 'checkpoints'))))?.step;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-signals-'));
  expect((await runDimo(flags('whole'), { cwd: tests })).code).toBe(0);
});
afterAll(() => rm(folder, { recursive: true }));

const sleep = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('signals', { timeout: 60_000 + numSignals * 30_000 }, () => {
  it(`${numSignals} at random times: saved, exit 0, and resumed bit for bit`, async () => {
    const names = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const;
    const random = randomStream(20260611, 0, 'signals');
    let stoppedEarly = 0;
    for (let i = 0; i < numSignals; i++) {
      const name = `run-${i}`;
      const running = startDimo(flags(name), { cwd: tests, env: { TOY_STEP_DELAY: '10' } });
      await running.printed(`distil 1/${numSteps}`);
      await sleep(random.uniform(1)[0]! * 400);
      running.process.kill(names[i % names.length]);
      const { code, stdout, stderr } = await running.ended;
      expect(code, stdout + stderr).toBe(0);
      const step = await latestStep(name);
      expect(step, stderr).toBeGreaterThan(0);
      if (step! < numSteps) {
        stoppedEarly++;
        expect(stdout).toContain(`stopped by ${names[i % names.length]} after step ${step}, saved`);
        const resumed = await runDimo(resumeFlags(name), { cwd: tests });
        expect(resumed.code, resumed.stderr).toBe(0);
      }
      expect((await generatorBytes(name)).equals(await generatorBytes('whole')), `resumed at ${step}`).toBe(true);
    }
    expect(stoppedEarly).toBeGreaterThan(0);
  });

  it('a second SIGINT within five seconds ends at once with 130; the last checkpoint stays good', async () => {
    const running: RunningDimo = startDimo([...flags('twice'), '--checkpoint-steps', '1'], {
      cwd: tests,
      env: { TOY_STEP_DELAY: '1500' },
    });
    await running.printed(`distil 2/${numSteps}`);
    running.process.kill('SIGINT');
    await running.printed('SIGINT: saving after this step');
    running.process.kill('SIGINT');
    const { code } = await running.ended;
    expect(code).toBe(130);
    expect(await latestStep('twice')).toBeGreaterThan(0);
    const resumed = await runDimo(resumeFlags('twice'), { cwd: tests });
    expect(resumed.code, resumed.stderr).toBe(0);
    expect((await generatorBytes('twice')).equals(await generatorBytes('whole'))).toBe(true);
  });

  it('a reader that goes away does not stop the training', async () => {
    const running = startDimo(flags('pipe'), { cwd: tests, env: { TOY_STEP_DELAY: '5' } });
    await running.printed(`distil 1/${numSteps}`);
    running.process.stdout?.destroy();
    running.process.stderr?.destroy();
    expect((await running.ended).code).toBe(0);
    expect((await generatorBytes('pipe')).equals(await generatorBytes('whole'))).toBe(true);
  });
});

describe('folders', { timeout: 120_000 }, () => {
  it('a run in use is refused with 75, a used name and another configuration with 2', async () => {
    const running = startDimo(flags('busy'), { cwd: tests, env: { TOY_STEP_DELAY: '2000' } });
    await running.printed(`distil 1/${numSteps}`);
    const second = await runDimo(flags('busy'), { cwd: tests });
    expect(second.code).toBe(75);
    expect(second.stderr).toContain(`is in use by process ${running.process.pid}`);
    running.process.kill('SIGTERM');
    expect((await running.ended).code).toBe(0);

    const used = await runDimo(flags('busy'), { cwd: tests });
    expect(used.code).toBe(2);
    expect(used.stderr).toContain('--resume');
    const other = [...resumeFlags('busy'), '--learning-rate', '1'];
    const refused = await runDimo(other, { cwd: tests });
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('config.distill.generatorLearningRate: saved 0.0002, now 1');
    const allowed = await runDimo([...other, '--resume-override', 'config.distill.generatorLearningRate'], {
      cwd: tests,
    });
    expect(allowed.code, allowed.stderr).toBe(0);
    expect((await generatorBytes('busy')).equals(await generatorBytes('whole'))).toBe(false);
  });
});
