/** Images from tokens, in batches. */
import type { Tensor2D } from '@tensorflow/tfjs-core';
import { takeRows } from '../tensors/batches.js';
import { requireInteger } from '../options/check-options.js';
import { checkHostTree } from '../engine/check-tensors.js';
import type { DeviceTree, Engine } from '../engine/engine.js';
import { OptionError, ShapeError } from '../errors.js';
import type { TokenDecoder } from './model.js';
import { float32, type HostTensor } from '../tensors/tensors.js';

/** A compiled decoder for one batch size. */
export interface CompiledDecoder {
  /**
   * Images float32 [count, H, W, C] in [0, 1] of tokens int32 [count, L], any count.
   *
   * @throws ShapeError for another shape or dtype; OptionError if a token is not below codebookSize.
   */
  decode(weights: DeviceTree, tokens: HostTensor<'int32'>): Promise<HostTensor<'float32'>>;
  dispose(): Promise<void>;
}

/** Compiles a decoder. */
export async function compileDecoder(
  engine: Engine,
  decoder: TokenDecoder,
  batchSize: number,
): Promise<CompiledDecoder> {
  requireInteger(batchSize, 'decoder: batchSize');
  const length = decoder.grid[0] * decoder.grid[1];
  const compiled = await engine.compile(
    (state, inputs) => ({ outputs: { images: decoder.decode(state, inputs['tokens'] as Tensor2D) } }),
    { state: decoder.parameters, inputs: { tokens: { dtype: 'int32', shape: [batchSize, length] } } },
  );
  const imageSize = decoder.imageShape.reduce((product, n) => product * n, 1);
  return {
    async decode(weights, tokens) {
      checkHostTree('decode', { tokens });
      if (tokens.dtype !== 'int32' || tokens.shape.length !== 2 || tokens.shape[1] !== length)
        throw new ShapeError(
          `decode: tokens must be int32 [count, ${length}], got ${tokens.dtype} [${tokens.shape.join(', ')}]`,
        );
      const wrong = tokens.data.find((token) => token < 0 || token >= decoder.codebookSize);
      if (wrong !== undefined)
        throw new OptionError(
          `decode: tokens must be in [0, ${decoder.codebookSize}), got ${wrong}; mask tokens cannot be decoded`,
        );
      const total = tokens.shape[0]!;
      const images = new Float32Array(total * imageSize);
      for (let first = 0; first < total; first += batchSize) {
        const outputs = await compiled.run(weights, takeRows({ tokens }, first, batchSize));
        const used = Math.min(batchSize, total - first);
        images.set((outputs['images']!.data as Float32Array).subarray(0, used * imageSize), first * imageSize);
      }
      return float32([total, ...decoder.imageShape], images);
    },
    dispose: () => compiled.dispose(),
  };
}
