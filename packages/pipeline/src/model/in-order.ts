/** Runs all tasks, one after another, whatever one of them throws. @throws the first error, when all have run */
export async function inOrder(tasks: readonly (() => Promise<unknown>)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const task of tasks) await task().catch((error: unknown) => errors.push(error));
  if (errors.length > 0) throw errors[0];
}
