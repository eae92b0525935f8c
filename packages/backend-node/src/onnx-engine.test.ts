/** What is particular to the onnx engine; what all engines share is in the conformance suite. */
import { float32, linear, scalar, specsOf, type Engine, type PureFunction } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOnnxEngine } from './onnx-engine.js';

/** One step of gradient descent on the mean squared error of a linear model. */
const descend: PureFunction = (state, { x, target, rate }) => {
  const loss = (weight: tf.Tensor, bias: tf.Tensor): tf.Scalar => {
    const error = tf.sub(linear(x!, weight, bias), target!);
    return tf.mean(tf.mul(error, error));
  };
  const { value, grads } = tf.valueAndGrads((...args) => loss(args[0]!, args[1]!))([state['weight']!, state['bias']!]);
  return {
    state: {
      weight: tf.sub(state['weight']!, tf.mul(rate!, grads[0]!)),
      bias: tf.sub(state['bias']!, tf.mul(rate!, grads[1]!)),
    },
    outputs: { loss: value },
  };
};

describe('the onnx engine', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createOnnxEngine();
  });
  afterAll(() => engine.dispose());

  it('says what it runs on', () => {
    expect(engine.info.name).toBe('onnx');
    expect(engine.info.device).toMatch(/^CPU, \d+ threads?$/);
    expect(engine.info.versions['onnxruntime-node']).toMatch(/^\d+\.\d+/);
  });

  it('trains a linear model to the known solution', async () => {
    const weights = { weight: float32([1, 2]), bias: float32([1]) };
    const x = float32([4, 2], [0, 0, 1, 0, 0, 1, 1, 1]);
    const inputs = { x, target: float32([4, 1], [1, 3, -2, 0]), rate: scalar(0.5) }; // 1 + 2 a - 3 b
    const state = await engine.upload(weights);
    const step = await engine.compile(descend, { state: specsOf(weights), inputs: specsOf(inputs) });
    let loss = Infinity;
    for (let i = 0; i < 150; i++) loss = (await step.run(state, inputs))['loss']!.data[0]!;
    expect(loss).toBeLessThan(1e-9);
    const { weight, bias } = await state.download();
    expect([...weight!.data].map((v) => Math.round(v * 1e4) / 1e4)).toEqual([2, -3]);
    expect(bias!.data[0]).toBeCloseTo(1, 4);
    await step.dispose();
    await state.dispose();
  });
});
