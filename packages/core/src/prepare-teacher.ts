/** Conditions that need an engine. */
import type { Engine } from './engine.js';
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
 */
export async function prepareTeacher<T extends TeacherDefinition>(
  engine: Engine,
  teacher: T,
): Promise<PreparedTeacher<T>> {
  const prepared = await teacher.prepareConditions?.(engine);
  if (!prepared) return { teacher, dispose: () => Promise.resolve() };
  const { conditions, nullCondition } = prepared;
  return { teacher: { ...teacher, conditions, nullCondition }, dispose: () => prepared.dispose() };
}
