/** A lost GPU stops a run with a typed error, and a new engine can be made. Skipped without a WebGPU adapter. */
import { loseWebgpuDevice } from '@dimo/kernels/eager';
import { float32, specsOf, type PureFunction } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import { nodeEngines } from '../plugin.js';
import { createWebgpuEngine } from './webgpu.js';

const availability = await nodeEngines.find(({ name }) => name === 'webgpu')!.probe();
const title = availability.available ? 'webgpu engine' : `webgpu engine, skipped: ${availability.reason}`;

describe.skipIf(!availability.available)(title, () => {
  it('reports the loss of the device, and works again on a new one', async () => {
    const values = { x: float32([2], [1, 2]) };
    const double: PureFunction = ({ x }) => ({ state: { x: tf.mul(x!, 2) }, outputs: { x: x! } });
    const engine = await createWebgpuEngine();
    const state = await engine.upload(values);
    const compiled = await engine.compile(double, { state: specsOf(values), inputs: {} });
    await compiled.run(state, {});
    const downloaded = await state.download();

    await loseWebgpuDevice();
    await expect(compiled.run(state, {})).rejects.toMatchObject({ code: 'device' });
    await expect(state.download()).rejects.toThrow(/GPU device was lost/);
    await engine.dispose();

    const another = await createWebgpuEngine();
    const restored = await another.upload(downloaded);
    const again = await another.compile(double, { state: specsOf(values), inputs: {} });
    await again.run(restored, {});
    expect([...(await restored.download())['x']!.data]).toEqual([4, 8]);
    await another.dispose();
  });
});
