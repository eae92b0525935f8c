/** The engines on TensorFlow. What needs a build of it runs where the environment variable DIMO_TFJS_NODE names one. */
import { describe, expect, it } from 'vitest';
import { createCudaEngine, createTensorFlowEngine } from './tensorflow.js';

const build = process.env['DIMO_TFJS_NODE'];

describe('TensorFlow that is not there', () => {
  it('is reported with the package and the command', async () => {
    const before = process.env['DIMO_TFJS_NODE_GPU'];
    process.env['DIMO_TFJS_NODE_GPU'] = '@dimo-test/not-installed';
    await expect(createCudaEngine()).rejects.toMatchObject({
      code: 'backend-unavailable',
      message: 'cuda engine: the package @dimo-test/not-installed is not installed',
      hint: expect.stringContaining('npm install @tensorflow/tfjs-node-gpu') as string,
    });
    if (before === undefined) delete process.env['DIMO_TFJS_NODE_GPU'];
    else process.env['DIMO_TFJS_NODE_GPU'] = before;
  });
});

describe.skipIf(!build)(build ? 'tfjs-node' : 'tfjs-node, skipped: DIMO_TFJS_NODE is not set', () => {
  it('says which TensorFlow computes', async () => {
    const { info } = await createTensorFlowEngine();
    expect(info.device).toBe('CPU through TensorFlow');
    expect(info.versions['tensorflow']).toMatch(/^\d+\.\d+\.\d+/);
  });

  it('is refused as `cuda`, because TensorFlow lists no GPU', async () => {
    process.env['DIMO_TFJS_NODE_GPU'] = build;
    await expect(createCudaEngine()).rejects.toMatchObject({
      code: 'backend-unavailable',
      message: expect.stringContaining('lists no GPU device and would compute on the CPU') as string,
      hint: expect.stringContaining('CUDA 11.2') as string,
    });
  });
});
