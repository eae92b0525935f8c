/**
 * A training whose state is large: `large-state <folder> <mebibytes>` trains a step, resuming what is there, and saves.
 * Prints what it has in memory in KiB: `trained <resident>` after the step, `peak <resident>` at the end.
 */
import { createOnnxEngine, openRunFolder } from '@dimo/backend-node';
import {
  deviceTensors,
  float32,
  openLatestCheckpoint,
  saveCheckpoint,
  withTraining,
  type CheckpointIdentity,
  type TrainingProgram,
} from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { readFileSync, writeFileSync } from 'node:fs';

const [folder = '', mebibytes = '0'] = process.argv.slice(2);
const elements = 2 ** 20;
const names = Array.from({ length: Number(mebibytes) / 4 }, (_, i) => `w${i}`);
const identity: CheckpointIdentity = { config: {}, seed: 0, engine: 'onnx', version: '0.1.0' };

/** A line of the kernel's account of this process. */
function status(key: string): string {
  return new RegExp(`${key}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
}

const run = await openRunFolder(folder);
const opened = await openLatestCheckpoint(run.checkpoints, { identity });
const step = opened?.step ?? 0;
const program: TrainingProgram = {
  name: 'large',
  numSteps: step + 1,
  batchSize: 1,
  functions: { step: ({ count }) => ({ state: { count: tf.add(count!, 1) }, outputs: {} }) },
  initialState: () => ({
    count: float32([1]),
    ...Object.fromEntries(names.map((name) => [name, float32([elements])])),
  }),
  initialCounters: {},
  draw: () => undefined,
  calls: () => [{ fn: 'step', inputs: {} }],
  finish: (_step, counters) => ({ metrics: {}, counters }),
};
const engine = await createOnnxEngine({ threads: 1 });
const from = opened && { step, counters: {}, state: opened.groups['state']!, close: opened.close };
await withTraining(program, { engine, ...(from ? { from } : {}) }, async (end) => {
  console.log(`trained ${status('VmRSS')}`);
  if (!opened) writeFileSync('/proc/self/clear_refs', '5'); // the peak begins anew
  const groups = { state: deviceTensors(end.deviceState) };
  await saveCheckpoint(run.checkpoints, { step: end.step, groups, state: null, identity }, { keep: 1 });
});
console.log(`peak ${status('VmHWM')}`);
await run.release();
await engine.dispose();
