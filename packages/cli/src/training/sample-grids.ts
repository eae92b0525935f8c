/** When samples of a training are drawn, and where they go: what distillations and trainings of teachers share. */
import type { HostTensor } from '@dimo/core';
import { join } from 'node:path';
import { writeFileAtomically } from '../run/folder.js';
import type { StepTools } from '../run/train-run.js';

/** True after every so many steps, if that is not 0, and after the last. */
export function isSampleStep(
  step: number,
  { sampleEvery, numSteps }: { readonly sampleEvery: number; readonly numSteps: number },
): boolean {
  return (sampleEvery > 0 && step % sampleEvery === 0) || step === numSteps;
}

/** The file of the samples of a step, without its ending. */
export function samplesOfStep(folder: string, step: number): string {
  return join(folder, `step-${String(step).padStart(6, '0')}`);
}

/**
 * Writes the images of a step as a grid, and hands it to whatever follows the run.
 *
 * @param samples.numDifferent - conditions that differ, in turn; 0 if they do not repeat.
 */
export async function writeSampleGrid(
  folder: string,
  step: number,
  { images, numDifferent }: { readonly images: HostTensor<'float32'>; readonly numDifferent: number },
  tools: StepTools,
): Promise<void> {
  const { encodeGrid, gridColumns } = await import('../output/images.js'); // loaded when there is a picture
  const grid = encodeGrid(images, gridColumns(images.shape[0]!, numDifferent));
  await writeFileAtomically(`${samplesOfStep(folder, step)}.png`, grid.png);
  tools.summary(step, [{ tag: 'samples', ...grid }]);
}
