/** ONNX files of others, run as they are by onnxruntime. */
import { DimoError, OptionError, WeightError } from '@dimo/core';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { firstLine } from './first-line.js';
import { installCommand } from './onnxruntime-package.js';
import { requireOptional } from './optional-package.js';
import { openFileChecked } from './storage/index.js';

/** A tensor that goes into or comes out of an ONNX file. */
export interface OnnxTensor {
  /** As ONNX names it: `float32`, `uint8`, `int64`. */
  readonly type: string;
  readonly shape: readonly number[];
  readonly data: Float32Array | Uint8Array | Int32Array | BigInt64Array;
}

/** An input or output of an ONNX file. */
export interface OnnxPort {
  readonly name: string;
  readonly type: string;
  /** Sizes; names where any is taken. */
  readonly shape: readonly (number | string)[];
}

/** An ONNX file that has been loaded. */
export interface OnnxModel {
  readonly inputs: readonly OnnxPort[];
  readonly outputs: readonly OnnxPort[];
  /**
   * Runs it. The thread is busy meanwhile.
   *
   * @param inputs - by name.
   * @param wanted - names of outputs.
   * @throws OptionError with onnxruntime's own words for inputs that it does not take.
   */
  run(
    inputs: Readonly<Record<string, OnnxTensor>>,
    wanted: readonly string[],
  ): Promise<Readonly<Record<string, OnnxTensor>>>;
  dispose(): Promise<void>;
}

/** Options of `openOnnxModel`. */
export interface OnnxModelOptions {
  /** Threads of onnxruntime. @default its own choice */
  readonly threads?: number;
}

/**
 * Loads an ONNX file (with the files of its weights beside it, where it has such) on the CPU.
 *
 * @throws DimoError with code `io` if it is absent; WeightError if onnxruntime cannot read it; BackendUnavailableError
 *   without onnxruntime.
 */
export async function openOnnxModel(path: string, { threads }: OnnxModelOptions = {}): Promise<OnnxModel> {
  // Absent files and folders have better words than onnxruntime's.
  await (await openFileChecked(path)).close();
  const ort = requireOptional({
    name: 'onnxruntime-node',
    engine: 'onnx',
    fix: `run \`${installCommand()}\``,
  }) as typeof import('onnxruntime-node');
  ort.env.logLevel = 'error';
  let session: InferenceSession;
  try {
    session = await ort.InferenceSession.create(path, {
      logSeverityLevel: 4,
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    });
  } catch (cause) {
    throw new WeightError(`onnxruntime cannot read the network: ${firstLine(cause)}`, { path, cause });
  }
  return {
    inputs: session.inputMetadata.map(portOf),
    outputs: session.outputMetadata.map(portOf),
    async run(inputs, wanted) {
      const feeds: Record<string, Tensor> = {};
      for (const [name, { type, data, shape }] of Object.entries(inputs))
        feeds[name] = new ort.Tensor(type as 'float32', data as Float32Array, shape);
      let results: InferenceSession.OnnxValueMapType;
      try {
        results = await session.run(feeds, [...wanted]);
      } catch (cause) {
        throw new OptionError(`the network does not run on [${shapesOf(inputs)}]: ${firstLine(cause)}`, {
          path,
          cause,
        });
      }
      const outputs: Record<string, OnnxTensor> = {};
      for (const name of wanted) {
        const { type, dims, data } = results[name] as Tensor;
        outputs[name] = { type, shape: dims, data: data as Float32Array };
      }
      return outputs;
    },
    dispose: () => session.release(),
  };
}

function portOf(metadata: InferenceSession.ValueMetadata): OnnxPort {
  if (!metadata.isTensor) throw new DimoError('weights', `the port "${metadata.name}" of the network is no tensor`);
  return { name: metadata.name, type: metadata.type, shape: metadata.shape };
}

const shapesOf = (inputs: Readonly<Record<string, OnnxTensor>>): string =>
  Object.entries(inputs)
    .map(([name, { type, shape }]) => `${name}: ${type} [${shape.join(', ')}]`)
    .join('; ');
