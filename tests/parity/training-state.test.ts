/**
 * Training states of PyTorch, as the official MaskGIT trainer writes them, gone on with here: one update by the same gradient
 * gives what AdamW of PyTorch gives. Made by `make.py` beside the files; with `DIMO_TORCH_PYTHON` also anew, by the
 * installed version.
 */
import { folderWeightSource } from '@dimo/backend-node';
import { phaseProgram, resolveOptimizer, runTraining, scalar, selectTensors, subtree, type HostTree } from '@dimo/core';
import { openBegunTraining, readTorchStateDict } from '@dimo/core/weight-files';
import { maskTransformer } from '@dimo/teacher-maskgit';
import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { enginesUnderTest, type EngineUnderTest } from './engines.js';
import { fixtures, maxDifference } from './fixtures.js';

const python = process.env['DIMO_TORCH_PYTHON'];
const made = join(fixtures, 'maskgit', 'training-state');
const model = maskTransformer({ hidden: 4, depth: 1, heads: 2, mlp: 8, codebookSize: 5, numClasses: 3, grid: 2 });
const names = Object.keys(model.parameters);

/** One update from the state in a folder, by the gradient in `next.pth`; beside it what PyTorch has made of it. */
async function update(folder: string, engine: EngineUnderTest) {
  const begun = await openBegunTraining(folderWeightSource(folder), 'state.pth', model);
  const next = await readTorchStateDict(await readFile(join(folder, 'next.pth')));
  const { lr, betas, eps, weight_decay } = Object.fromEntries(begun.settings) as Record<string, number> & {
    betas: [number, number];
  };
  const optimizer = {
    kind: 'adamw',
    beta1: betas[0],
    beta2: betas[1],
    epsilon: eps!,
    weightDecay: weight_decay!,
  } as const;
  const program = phaseProgram({
    name: 'one update',
    numSteps: begun.iteration! + 1,
    batchSize: 1,
    initialWeights: () => {
      throw new Error('the state has all of them');
    },
    onNonFinite: 'throw',
    phases: [
      {
        trains: { prefix: 'weights', parameters: model.parameters },
        draw: () => ({ ...subtree('gradient', next), loss: scalar(0) }),
        gradients: (_state, { loss, ...gradients }) => ({ gradients, outputs: { loss: loss! } }),
        optimizer: resolveOptimizer(optimizer),
        learningRate: () => lr!,
      },
    ],
  });
  const of = (own: string, theirs: string) => names.map((name) => [`${own}/${name}`, `${theirs}/${name}`]);
  const places = Object.fromEntries([
    ...of('weights', 'weights'),
    ...of('optimizer/m', 'm'),
    ...of('optimizer/v', 'v'),
  ]) as Record<string, string>;
  const source = selectTensors(begun, places);
  const running = await engine.create();
  try {
    const { state } = await runTraining(program, {
      engine: running,
      from: {
        step: begun.iteration!,
        counters: { updates: begun.updates!, skipped: 0 },
        state: await source.read(Object.keys(places)),
        close: begun.close,
      },
    });
    return { begun, next, state };
  } finally {
    await running.dispose();
  }
}

function expectAsPyTorch({
  begun,
  next,
  state,
}: {
  begun: { left: readonly string[] };
  next: HostTree;
  state: HostTree;
}) {
  expect(begun).toMatchObject({ iteration: 5, updates: 5 });
  expect(begun.left).toEqual(['what else the file holds: global_epoch (the value 1)']);
  for (const name of names)
    for (const [own, theirs] of [
      ['weights', 'weights'],
      ['optimizer/m', 'm'],
      ['optimizer/v', 'v'],
    ])
      // A unit in the last place of numbers up to 4, of which the moments are no larger: the order of the operations differs.
      expect(maxDifference(state[`${own}/${name}`]!.data, next[`${theirs}/${name}`]!.data), name).toBeLessThan(5e-7);
}

describe.each(enginesUnderTest)('an update from a training state of PyTorch on $name', (engine) => {
  it('is that of AdamW there', async () => expectAsPyTorch(await update(made, engine)));
});

it.skipIf(python === undefined)(
  `is that of the installed PyTorch${python === undefined ? ' (skipped: DIMO_TORCH_PYTHON names no Python with torch)' : ''}`,
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'dimo-training-state-'));
    try {
      await copyFile(join(made, 'make.py'), join(folder, 'make.py'));
      const { status, stderr } = spawnSync(python!, ['make.py', '.'], { cwd: folder, encoding: 'utf8' });
      expect(status, stderr).toBe(0);
      expectAsPyTorch(await update(folder, enginesUnderTest[0]!));
    } finally {
      await rm(folder, { recursive: true });
    }
  },
  120_000,
);
