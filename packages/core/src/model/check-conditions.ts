/** Checks of conditions that come from outside: an id beyond an embedding table is an error on some devices only. */
import { checkHostTree, checkValues } from '../engine/check-tensors.js';
import { checkTree } from '../tensors/check-tree.js';
import { conditionSpecs } from './guidance.js';
import type { MaskedDiffusionModel } from './model.js';
import type { HostTree } from '../tensors/tensors.js';
import { withPrefix } from '../tensors/tensors.js';

/**
 * Checks that conditions are those of a model: every tensor there, of the right shape, finite, ids below their number.
 *
 * @param where - what is being checked, the beginning of the message.
 * @param model - whose conditions they must be.
 * @param condition - tensors with the leading axis `batchSize`.
 * @param options - `allowNonFinite` where the losses say what is not finite.
 * @throws ShapeError for another tensor, OptionError for an id that does not exist, NonFiniteError for NaN or infinity.
 */
export function checkConditions(
  where: string,
  model: Pick<MaskedDiffusionModel, 'condition'>,
  condition: HostTree,
  batchSize: number,
  { allowNonFinite = false }: { readonly allowNonFinite?: boolean } = {},
): void {
  checkHostTree(where, condition);
  checkTree(where, conditionSpecs(model, batchSize), withPrefix('condition', condition));
  for (const [name, { below }] of Object.entries(model.condition))
    if (below !== undefined || !allowNonFinite)
      checkValues(`${where}: "${name}"`, condition[name]!, below === undefined ? {} : { from: 0, below });
}
