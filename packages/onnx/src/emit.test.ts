import { float32, linear, specsOf, type PureFunction } from '@dimo/core';
import * as tf from '@tensorflow/tfjs-core';
import { fromBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema, TensorProto_DataType } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { emitModel } from './emit.js';
import { trace } from './trace.js';

const state = { first: float32([2, 2]), second: float32([2, 2]), 'first:float32': float32([2, 2]) };
const inputs = { x: float32([1, 2]) };
const chain: PureFunction = (weights, { x }) => {
  const inner = linear(x!, weights['first']!);
  return { outputs: { y: tf.add(linear(inner, weights['second']!), linear(x!, weights['first:float32']!)) } };
};

describe('emitModel with inputs fed as float16', () => {
  const graph = trace(chain, { state: specsOf(state), inputs: specsOf(inputs) });
  const model = fromBinary(ModelProtoSchema, emitModel(graph, { halves: { 's:first': 0, 's:second': 3 } })).graph!;
  const typeOf = (name: string) => {
    const type = model.input.find((input) => input.name === name)!.type!.value;
    return type.case === 'tensorType' ? type.value.elemType : undefined;
  };

  it('declares them, and them alone, as float16', () => {
    expect(typeOf('s:first')).toBe(TensorProto_DataType.FLOAT16);
    expect(typeOf('s:second')).toBe(TensorProto_DataType.FLOAT16);
    expect(typeOf('s:first:float32')).toBe(TensorProto_DataType.FLOAT);
  });

  it('widens them first in the file, which makes onnxruntime do it just before they are read', () => {
    expect(model.node.slice(0, 3).map((node) => [node.opType, ...node.input])).toEqual([
      ['Cast', 's:first'],
      ['Cast', 's:second'],
      ['Mul', 's:second:float32:unscaled', 's:second:float32:scale'],
    ]);
    const scale = model.initializer.find(({ name }) => name === 's:second:float32:scale')!;
    expect(new Float32Array(scale.rawData.slice().buffer)[0]).toBe(1 / 8);
  });

  it('gives the wide copies names that no input has', () => {
    const outputs = model.node.flatMap((node) => node.output);
    expect(outputs).not.toContain('s:first:float32');
    expect(new Set(outputs).size).toBe(outputs.length);
  });
});
