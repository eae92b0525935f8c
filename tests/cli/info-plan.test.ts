/** The plan that `dimo info` prints, against sizes of files and counts worked out by hand. */
import { mkdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { fixtures } from '../parity/fixtures.js';
import { dimoTrial } from '../support/in-process-dimo.js';

const { at, succeed, fails } = dimoTrial();
const preset = fileURLToPath(new URL('../../packages/presets/presets/mnist/', import.meta.url));

interface Info {
  readonly parts: readonly { readonly name: string; readonly parameters: number; readonly bytes: number }[];
  readonly plan: Record<'sampling' | 'trainingStep', Estimate> & { readonly basis: string };
}
interface Estimate {
  readonly batchSize: number;
  readonly operations: number;
  readonly memoryBytes: number;
  readonly seconds?: number;
  readonly steps?: number;
}

const infoOf = async (...args: string[]): Promise<Info> =>
  JSON.parse((await succeed(['info', ...args, '--json'])).stdout) as Info;

/** MNIST: 49 tokens and a class, width 96, MLP 384, 4 blocks, 75 rows of embeddings. */
function forwardOperations(batch: number): number {
  const [tokens, width, mlp, blocks] = [50, 96, 384, 4];
  const dense = 4 * width * width + 2 * width * mlp;
  const attention = 2 * tokens * width;
  // First and last layers: three products of width x width, and the embeddings as the head; logits of some rows only.
  return 2 * batch * tokens * (blocks * (dense + attention) + 3 * width * width + 75 * width);
}

describe('dimo info', { timeout: 120_000 }, () => {
  it('of a generator: what its files hold, and one pass with its decoder', async () => {
    const folder = path.join(preset, 'generator');
    const { parts, plan } = await infoOf(folder, '--no-bench');
    const sizes = await Promise.all(
      ['model', 'decoder'].map(async (name) => (await stat(path.join(folder, `${name}.safetensors`))).size),
    );
    expect(parts.map(({ parameters, bytes }) => [parameters, bytes])).toEqual([
      [491_960, sizes[0]],
      [83_529, sizes[1]],
    ]);
    const { batchSize, operations, steps, seconds } = plan.sampling;
    expect([batchSize, steps, seconds]).toEqual([64, 1, undefined]);
    const forward = forwardOperations(64);
    expect(operations).toBeGreaterThan(forward * 0.95);
    // The decoder: fewer than its parameters times the 28 x 28 pixels that the largest of them are used at.
    expect(operations).toBeLessThan(forward + 2 * 64 * 83_529 * 196);
  });

  it('of a teacher: passes of all steps, and a step of the distillation that the project asks for', async () => {
    const one = await infoOf('mnist', '--no-bench', '--set', 'sample.steps=1', '--set', 'sample.guidance=1');
    const eight = await infoOf('mnist', '--no-bench', '--set', 'sample.steps=8', '--set', 'sample.guidance=1');
    const guided = await infoOf('mnist', '--no-bench', '--set', 'sample.steps=1', '--set', 'sample.guidance=3');
    const forward = forwardOperations(64);
    const more = (other: Info): number => (other.plan.sampling.operations - one.plan.sampling.operations) / forward;
    expect(more(eight)).toBeCloseTo(7, 0);
    expect(more(guided)).toBeCloseTo(1, 0);
    // Generator forward and back, teacher and auxiliary, auxiliary forward and back: 3 + 1 or 2 + 1 + 3 passes.
    const { operations, batchSize, memoryBytes } = one.plan.trainingStep;
    expect(operations / forwardOperations(batchSize)).toBeGreaterThan(7);
    expect(operations / forwardOperations(batchSize)).toBeLessThan(10);
    // Three networks, an average and four moments at least.
    expect(memoryBytes).toBeGreaterThan(8 * 4 * 480_000);
    const half = await infoOf('mnist', '--no-bench', '--set', 'distill.batchSize=32');
    expect(half.plan.trainingStep.operations / operations).toBeCloseTo(0.5, 1);
  });

  it('of an import and in words, with times of the engine that is here', async () => {
    const release = path.join(fixtures, 'meissonic', 'tiny_release');
    await succeed(['import', release, '--out', at('imported'), '--set', 'grid=4', '--quiet']);
    const { parts, plan } = await infoOf(at('imported'), '--set', 'engine.name=onnx');
    expect(parts.map(({ name }) => name)).toEqual(['transformer', 'decoder', 'text encoder']);
    for (const estimate of [plan.sampling, plan.trainingStep]) expect(estimate.seconds).toBeGreaterThan(0);
    expect(plan.basis).toMatch(/engine onnx .* GFLOP\/s/);
    const { stdout } = await succeed(['info', 'mnist', '--no-bench']);
    expect(stdout).toMatch(/transformer: 491,960 parameters, \d+ kB on disk/);
    expect(stdout).toMatch(/memory: [\d.]+ MB/);
  });
});

describe('dimo distill --plan', { timeout: 120_000 }, () => {
  interface Plan {
    readonly parameters: Readonly<Record<string, number>>;
    readonly state: number;
    readonly steps: readonly { readonly batchSize: number; readonly activations: number; readonly memory: number }[];
    readonly disk: { readonly checkpointBytes: number; readonly numCheckpoints: number };
    readonly machine: { readonly diskBytes: number };
  }

  it('says what a run needs, and runs nothing', async () => {
    const asked = ['distill', '--runs', at('planned'), '--batch', '8', '--plan'];
    const plan = JSON.parse((await succeed([...asked, '--json'])).stdout) as Plan;
    expect(plan.parameters).toEqual({ generator: 491_960, teacher: 491_960 });
    // Three networks; an average, and two moments of generator and auxiliary, of what is trained. The teacher is not saved.
    const trained = 491_960 - 15_896;
    expect(plan.state).toBe(4 * (3 * 491_960 + 5 * trained));
    expect(plan.disk).toMatchObject({ checkpointBytes: 4 * (2 * 491_960 + 5 * trained), numCheckpoints: 4 });
    expect(plan.machine.diskBytes).toBeGreaterThan(0);
    expect(plan.steps.map(({ batchSize }) => batchSize)).toEqual([1, 8, 16, 32]);
    const [, one, two] = plan.steps;
    expect(two!.activations / one!.activations).toBeCloseTo(2, 0);
    expect(one!.memory).toBeGreaterThan(plan.state + one!.activations);
    const { stdout } = await succeed(asked);
    expect(stdout).toMatch(/^teacher: mnist/);
    expect(stdout).toMatch(/batch 8: [0-9.]+ MB of memory/);
    await expect(stat(at('planned'))).rejects.toThrow(/ENOENT/);
  });

  it('of the official run says what that sets, as the teacher and the configuration do', async () => {
    const preset = ['--set', 'distill.preset=official', '--set', 'distill.batchSize=4'];
    const { stdout } = await succeed(['distill', '--plan', '--json', ...preset]);
    expect(JSON.parse(stdout)).toMatchObject({
      settings: { preset: 'official', numSteps: 50_001, batchSize: 4, teacherGuidance: { scale: 2 } },
      steps: [{ batchSize: 1 }, { batchSize: 4 }, { batchSize: 8 }, { batchSize: 16 }],
    });
    const info = async (...args: string[]): Promise<unknown> =>
      JSON.parse((await succeed(['info', ...args, '--json'])).stdout);
    expect(await info('config', ...preset)).toMatchObject({ distill: { numSteps: 50_001, batchSize: 4 } });
    expect(await info('mnist', '--no-bench', ...preset)).toMatchObject({
      officialDistillation: { numSteps: 50_001, batchSize: 64 },
      plan: { trainingStep: { batchSize: 4 } },
    });
    await mkdir(at('run'));
    await writeFile(at('run', 'config.yaml'), 'distill: { numSteps: 9 }\n');
    const resumed = await fails(['distill', '--resume', at('run'), ...preset.slice(0, 2)]);
    expect(resumed).toContain('distill.preset=official has no effect with --resume');
  });
});
