/** Conditions that need an engine. */
import type { Engine, UploadOptions } from '../engine/engine.js';
import type { TeacherDefinition } from './model.js';

/** A teacher or definition whose conditions are ready to use. */
export interface PreparedTeacher<T extends TeacherDefinition> {
  readonly teacher: T;
  /** Releases what the conditions hold on the engine; those made before stay valid. */
  dispose(): Promise<void>;
}

/**
 * Makes conditions and null condition of a teacher ready to use. Nothing happens where they need no engine, as with class
 * labels.
 *
 * @param options - how weights of the conditions go to the engine; `move` where this is done once and no folder of the
 *   teacher is written afterwards.
 */
export async function prepareTeacher<T extends TeacherDefinition>(
  engine: Engine,
  teacher: T,
  options?: UploadOptions,
): Promise<PreparedTeacher<T>> {
  const prepared = await teacher.prepareConditions?.(engine, options);
  if (!prepared) return { teacher, dispose: () => Promise.resolve() };
  const { conditions, nullCondition } = prepared;
  return { teacher: { ...teacher, conditions, nullCondition }, dispose: () => prepared.dispose() };
}
