/** What is trained on and compared with: images with labels, or token sequences with their conditions. */
import type { HostTensor, HostTree } from '../tensors/tensors.js';

/** Pixels that are read as they are needed, from a file for one, so that no number of images needs memory. */
export interface PixelSource {
  /** Identifies the pixels of all images: others have another key. */
  readonly key: string;
  /** uint8 pixels of some images, [rows.length, H, W, C] in their order. Rows are in [0, count). */
  read(rows: ArrayLike<number>): Promise<Uint8Array>;
}

/** Where the pixels of images are. */
export type Pixels = Uint8Array | PixelSource;

/**
 * Images with labels.
 *
 * `P`: as for `DatasetSplit`.
 */
export interface Dataset<P extends Pixels = Pixels> {
  readonly name: string;
  /** Height, width, channels. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly classNames: readonly string[];
  readonly train: DatasetSplit<P>;
  readonly test: DatasetSplit<P>;
}

/**
 * One part of a dataset.
 *
 * `P`: where the pixels are, where it is known that they are in memory.
 */
export interface DatasetSplit<P extends Pixels = Pixels> {
  readonly count: number;
  /** uint8 pixels, row-major [count, H, W, C]: in memory, or read as they are needed; `readPixels` reads both. */
  readonly pixels: P;
  /** int32 [count]. */
  readonly labels: HostTensor<'int32'>;
  /**
   * What each image shows in words, for teachers of text: one or more prompts for each of the `count` images. A prompt that
   * is there twice is trained twice as often.
   */
  readonly texts?: readonly (readonly string[])[];
}

/** Token sequences with their conditions, for teachers whose data need no tokenizer. */
export interface TokenDataset {
  readonly name: string;
  /** K: all tokens are in [0, K). */
  readonly codebookSize: number;
  /** int32 [count, L]. */
  readonly tokens: HostTensor<'int32'>;
  /** Condition of each sequence; every tensor has the leading axis `count`. */
  readonly condition: HostTree;
}
