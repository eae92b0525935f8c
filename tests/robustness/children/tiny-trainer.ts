/**
 * A deterministic "training" that saves real checkpoints: `tiny-trainer <run folder> <steps>`. Prints a line at each
 * event, synchronously, so that a killed process has said where it was: `resumed n`, `saving n`, `saved n`, `done hash`.
 */
import { openRunFolder } from '@dimo/backend-node';
import {
  float32,
  int32,
  loadLatestCheckpoint,
  randomStream,
  saveCheckpoint,
  sha256Hex,
  writeSafetensors,
  type CheckpointIdentity,
  type HostTree,
} from '@dimo/core';
import { writeSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

const [folder = '', steps = '0'] = process.argv.slice(2);
const numSteps = Number(steps);
const saveEvery = 5;
const seed = 5;
const width = 16_384;
const identity: CheckpointIdentity = { config: { width, saveEvery }, seed, engine: 'none', version: '0.1.0' };
const say = (line: string): void => void writeSync(1, `${line}\n`);

interface State {
  readonly generator: Float32Array;
  readonly ema: Float32Array;
  readonly auxiliary: Float32Array;
  readonly moment: Float32Array;
  step: number;
}

/** One update from the state and the draws of this step alone, in the manner of a noisy gradient descent. */
function update(state: State): void {
  const noise = randomStream(seed, state.step, 'noise').normal(256);
  for (let i = 0; i < width; i++) {
    const gradient = (state.generator[i] as number) - (state.auxiliary[i] as number) + (noise[i % 256] as number);
    state.moment[i] = 0.9 * (state.moment[i] as number) + 0.1 * gradient;
    state.generator[i] = (state.generator[i] as number) - 0.01 * (state.moment[i] as number);
    state.auxiliary[i] = 0.99 * (state.auxiliary[i] as number) + 0.01 * (state.generator[i] as number);
    state.ema[i] = 0.999 * (state.ema[i] as number) + 0.001 * (state.generator[i] as number);
  }
  state.step++;
}

function groupsOf(state: State): Record<string, HostTree> {
  const of = (data: Float32Array): HostTree => ({ w: float32([width], data) });
  return {
    generator: of(state.generator),
    ema: of(state.ema),
    auxiliary: of(state.auxiliary),
    optimizer: { ...of(state.moment), step: int32([], [state.step]) },
  };
}

const run = await openRunFolder(folder);
const loaded = await loadLatestCheckpoint(run.checkpoints, {
  identity,
  onWarning: (message) => say(`warning ${message}`),
});
const weights = (group: string): Float32Array => {
  const data = loaded?.groups[group]?.['w']?.data;
  return data === undefined ? new Float32Array(width) : Float32Array.from(data);
};
const state: State = {
  generator: weights('generator'),
  ema: weights('ema'),
  auxiliary: weights('auxiliary'),
  moment: weights('optimizer'),
  step: loaded?.step ?? 0,
};
say(`resumed ${state.step}`);
while (state.step < numSteps) {
  update(state);
  // A real step waits for its device; without this nearly every kill would come inside a save.
  await wait(5);
  if (state.step % saveEvery !== 0) continue;
  say(`saving ${state.step}`);
  await saveCheckpoint(
    run.checkpoints,
    { step: state.step, groups: groupsOf(state), state: { updates: state.step }, identity },
    { keep: 2 },
  );
  say(`saved ${state.step}`);
}
const hashes = Object.values(groupsOf(state)).map((tree) => sha256Hex(writeSafetensors(tree)));
say(`done ${(await Promise.all(hashes)).join(' ')}`);
await run.release();
