/** A decoder on an engine. */
import { compileDecoder, type Engine, type HostTensor, type HostTree, type TeacherDefinition } from '@dimo/core';

/** A decoder, compiled, with its weights on the device. */
export interface OpenDecoder {
  /** Images float32 [count, H, W, C] in [0, 1] of tokens int32 [count, L]. */
  images(tokens: HostTensor<'int32'>): Promise<HostTensor<'float32'>>;
  dispose(): Promise<void>;
}

/** How a decoder is opened. */
export interface OpenDecoderOptions {
  readonly batchSize: number;
  /** Whether its weights leave the host. @default false */
  readonly move?: boolean;
}

/** Pixels that are decoded at once: one picture of 1024 x 1024, whose activations are gigabytes. */
const maximumPixels = 2 ** 20;

/** How many images a decoder computes at once, of a batch of so many. */
export function decoderBatchSize([height, width]: readonly number[], batchSize: number): number {
  return Math.max(1, Math.min(batchSize, Math.floor(maximumPixels / (height! * width!))));
}

/** The decoder of a definition, compiled, with its weights on the device; undefined if there is none. */
export async function openDecoder(
  engine: Engine,
  { decoder }: Pick<TeacherDefinition, 'decoder'>,
  decoderWeights: HostTree | undefined,
  { batchSize, move = false }: OpenDecoderOptions,
): Promise<OpenDecoder | undefined> {
  if (!decoder || !decoderWeights) return undefined;
  const compiled = await compileDecoder(engine, decoder, decoderBatchSize(decoder.imageShape, batchSize));
  const weights = await engine.upload(decoderWeights, { move });
  return {
    images: (tokens) => compiled.decode(weights, tokens),
    async dispose() {
      await compiled.dispose();
      await weights.dispose();
    },
  };
}
