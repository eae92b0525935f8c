/** What is trained on and compared with: images with labels, or token sequences with their conditions. */
import type { HostTensor, HostTree } from '../tensors/tensors.js';

/** Images with labels. */
export interface Dataset {
  readonly name: string;
  /** Height, width, channels. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly classNames: readonly string[];
  readonly train: DatasetSplit;
  readonly test: DatasetSplit;
}

/** One part of a dataset. */
export interface DatasetSplit {
  readonly count: number;
  /** uint8 pixels, row-major [count, H, W, C]. */
  readonly pixels: Uint8Array;
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
