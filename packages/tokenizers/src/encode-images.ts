/** Tokens of many images. */
import {
  checkPixels,
  int32,
  OptionError,
  readImages,
  ShapeError,
  type Engine,
  type HostTensor,
  type HostTree,
  type TokenDecoder,
} from '@dimo/core';
import type { Tensor4D } from '@tensorflow/tfjs-core';
import type { TrainingImages } from './training.js';

/** Arguments of `encodeImages`. */
export interface EncodeImagesOptions {
  readonly decoder: TokenDecoder;
  readonly weights: HostTree;
  /** uint8 pixels, row-major [count, H, W, C], in memory or read as they are needed. */
  readonly images: TrainingImages;
  /** Images at a time; does not change the result. @default 256 */
  readonly batchSize?: number;
  /** Called after each batch. */
  readonly onProgress?: (numDone: number) => void;
}

/**
 * Tokens of images, int32 [count, L]: what teachers are trained on.
 *
 * @throws OptionError if the decoder cannot encode; ShapeError if the images do not fit it.
 */
export async function encodeImages(engine: Engine, options: EncodeImagesOptions): Promise<HostTensor<'int32'>> {
  const { decoder, weights, images, onProgress } = options;
  const batchSize = Math.min(options.batchSize ?? 256, images.count);
  const [height, width, channels] = decoder.imageShape;
  const encode = decoder.encode?.bind(decoder);
  if (!encode) throw new OptionError(`encodeImages: the decoder "${decoder.name}" cannot encode images`);
  checkPixels(decoder.imageShape, images);
  if (images.count < 1) throw new ShapeError('encodeImages: at least one image is needed, got none');
  const length = decoder.grid[0] * decoder.grid[1];
  const tokens = new Int32Array(images.count * length);
  const state = await engine.upload(weights);
  const compiled = await engine.compile(
    (given, inputs) => ({ outputs: { tokens: encode(given, inputs['images'] as Tensor4D) } }),
    {
      state: decoder.parameters,
      inputs: { images: { dtype: 'float32', shape: [batchSize, height, width, channels] } },
    },
  );
  try {
    for (let first = 0; first < images.count; first += batchSize) {
      // The last batch is filled up with the last image.
      const rows = Array.from({ length: batchSize }, (_, i) => Math.min(first + i, images.count - 1));
      const result = await compiled.run(state, { images: await readImages(decoder.imageShape, images, rows) });
      const used = Math.min(batchSize, images.count - first);
      tokens.set((result['tokens']!.data as Int32Array).subarray(0, used * length), first * length);
      onProgress?.(first + used);
    }
  } finally {
    await compiled.dispose();
    await state.dispose();
  }
  return int32([images.count, length], tokens);
}
