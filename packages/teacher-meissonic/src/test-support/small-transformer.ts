/** A transformer small enough to be checked element by element. */
import type { MultimodalTransformerConfig } from '../transformer/config.js';

/** Its size, without the grid. */
export const smallTransformer = {
  codebookSize: 8,
  heads: 2,
  headWidth: 8,
  jointBlocks: 1,
  singleBlocks: 1,
  textWidth: 6,
  textLength: 3,
  rotaryAxes: [2, 2, 4],
} as const satisfies Omit<MultimodalTransformerConfig, 'grid'>;
