/** A model as its files show it before its weights are read. */
import type { TeacherDefinition } from './model.js';
import type { InspectedPart } from '../storage/inspected-part.js';

/** A model whose files were checked without reading the weights. */
export interface InspectedModel {
  readonly definition: TeacherDefinition;
  readonly parts: readonly InspectedPart[];
}
