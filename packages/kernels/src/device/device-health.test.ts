/** Errors that a GPU reports as events, with an event target in place of the GPU and the cpu backend behind it. */
import { eagerEngine, float32, specsOf } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { describe, expect, it } from 'vitest';
import { watchDevice } from './device-health.js';

function fakeDevice() {
  let lose: (info: { reason: string; message: string }) => void = () => {};
  const lost = new Promise<{ reason: string; message: string }>((resolve) => (lose = resolve));
  const device = Object.assign(new EventTarget(), { lost, destroy: () => lose({ reason: 'destroyed', message: '' }) });
  const report = (message: string) =>
    device.dispatchEvent(Object.assign(new Event('uncapturederror'), { error: { message } }));
  return { device, report, lose };
}

async function doubling() {
  const gpu = fakeDevice();
  let losses = 0;
  const health = watchDevice(gpu.device, () => losses++);
  const engine = health.guard(eagerEngine('cpu', {}, { beforeCommit: health.check }));
  const values = { x: float32([2], [1, 2]) };
  const state = await engine.upload(values);
  const double = await engine.compile(({ x }) => ({ state: { x: tf.mul(x!, 2) }, outputs: {} }), {
    state: specsOf(values),
    inputs: {},
  });
  return { gpu, engine, values, state, double, losses: () => losses };
}

describe('watchDevice', () => {
  it('fails the run during which the GPU reports an error, leaves the state, and goes on', async () => {
    const { gpu, engine, values, state, double } = await doubling();
    const run = double.run(state, {});
    gpu.report('Out of memory: 3 GB');
    await expect(run).rejects.toMatchObject({
      code: 'device',
      message: 'webgpu engine: the GPU reported: Out of memory: 3 GB',
      hint: 'lower the batch size',
    });
    expect(await state.download()).toEqual(values);
    await double.run(state, {});
    expect([...(await state.download())['x']!.data]).toEqual([2, 4]);
    await engine.dispose();
  });

  it('fails every call once the device is lost, also those that wait for it', async () => {
    const { gpu, engine, state, double, losses } = await doubling();
    gpu.lose({ reason: 'unknown', message: 'driver reset' });
    await expect(double.run(state, {})).rejects.toThrow('the GPU device was lost (unknown): driver reset');
    await expect(state.download()).rejects.toMatchObject({ code: 'device' });
    await expect(engine.upload({})).rejects.toMatchObject({ code: 'device' });
    expect(losses()).toBe(1);
    await state.dispose();
    await engine.dispose();
  });
});
