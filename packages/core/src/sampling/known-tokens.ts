/**
 * Tokens that are known before anything is drawn, those of a given image: int32 [batch, L] with the mask id where a token
 * is wanted. Samplers of several steps keep them (`MultiStepRequest.knownTokens`); a one-step generator sees them in the
 * place of random codes (`randomOneStepDraws`) and draws every position, so that they are put back afterwards.
 */
import { checkHostTree } from '../engine/check-tensors.js';
import type { TokenSpace } from '../model/token-space.js';
import { sequenceLength } from '../model/token-space.js';
import { checkTree } from '../tensors/check-tree.js';
import { int32, type HostTensor } from '../tensors/tensors.js';
import { checkInitialTokens } from './token-init.js';

/** @throws ShapeError for another shape, OptionError for what is neither a code nor the mask token */
export function checkKnownTokens(
  knownTokens: HostTensor<'int32'>,
  space: TokenSpace,
  batchSize: number,
  where: string,
): void {
  checkHostTree(where, { knownTokens });
  checkTree(where, { knownTokens: { dtype: 'int32', shape: [batchSize, sequenceLength(space)] } }, { knownTokens });
  checkInitialTokens(knownTokens, space, where, 'knownTokens');
}

/**
 * Tokens that were drawn, with those that are known put back.
 *
 * @param tokens - int32 [batch, L].
 * @param knownTokens - int32 [batch, L], the mask id where `tokens` counts.
 * @throws ShapeError if the shapes differ, OptionError for known tokens that are none.
 */
export function putBackKnownTokens(
  tokens: HostTensor<'int32'>,
  knownTokens: HostTensor<'int32'>,
  space: TokenSpace,
): HostTensor<'int32'> {
  checkHostTree('known tokens', { tokens });
  checkKnownTokens(knownTokens, space, tokens.shape[0]!, 'known tokens');
  checkTree('known tokens', { tokens: { dtype: 'int32', shape: knownTokens.shape } }, { tokens });
  return int32(
    tokens.shape,
    knownTokens.data.map((known, i) => (known === space.maskTokenId ? tokens.data[i]! : known)),
  );
}
