/** The tokens of a model: codebook, logits, mask token, grid. */

/** Facts about the tokens of a model. */
export interface TokenSpace {
  /** K: ids 0 .. K-1 are known to the decoder. */
  readonly codebookSize: number;
  /** V: last axis of the logits, V >= K. MaskGIT predicts the mask token too, so V = K + 1 there. */
  readonly numLogits: number;
  /** Id that stands for "masked", >= K. */
  readonly maskTokenId: number;
  /** Rows and columns of the token grid; [1, L] for a sequence. */
  readonly grid: readonly [rows: number, columns: number];
}

/** L = rows * columns. */
export function sequenceLength(space: TokenSpace): number {
  return space.grid[0] * space.grid[1];
}
