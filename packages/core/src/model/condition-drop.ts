/** Condition drop: some samples of a batch get "no condition", so that a model learns both. */
import type { HostTensor, HostTree } from '../tensors/tensors.js';

/**
 * Conditions with the rows of dropped samples replaced.
 *
 * @param condition - tensors with the leading batch axis.
 * @param nullCondition - "no condition", tensors without batch axis under the same names.
 * @param isDropped - per sample.
 */
export function dropConditions(condition: HostTree, nullCondition: HostTree, isDropped: readonly boolean[]): HostTree {
  if (!isDropped.includes(true)) return condition;
  return Object.fromEntries(
    Object.entries(condition).map(([name, tensor]) => {
      const none = nullCondition[name]!.data;
      const data = tensor.data.slice();
      isDropped.forEach((dropped, row) => {
        if (dropped) data.set(none, row * none.length);
      });
      return [name, { ...tensor, data } as HostTensor];
    }),
  );
}
