/** What the files of a part of a model show before its weights are read. */

/** A part of a model, as its files show it. */
export interface InspectedPart {
  /** `transformer`, `decoder`, `text encoder`. */
  readonly name: string;
  /** Files with its weights. */
  readonly files: readonly string[];
  /** Bytes of those files. */
  readonly bytes: number;
  /** Number of its parameters. */
  readonly parameters: number;
  /** What stands before the names of its tensors in the files, and what wrappers put into them. */
  readonly leftOut: readonly string[];
  /** Tensors in the files that are not used. */
  readonly unused: readonly string[];
}
