/** Which divergence between teacher and auxiliary drives the generator. */
import { OptionError } from '../errors.js';

/**
 * A token-level divergence: `forward-kl` KL(teacher || auxiliary), covers modes; `reverse-kl` KL(auxiliary || teacher),
 * seeks them; `jeffreys` (1 - beta) forward + beta reverse for any real beta (0 is the official default, an official run
 * used -0.2).
 */
export type Divergence =
  | { readonly kind: 'forward-kl' }
  | { readonly kind: 'reverse-kl' }
  | { readonly kind: 'jeffreys'; readonly beta: number };

/**
 * The divergence as the weight of the reverse KL: 0 for the forward KL, 1 for the reverse KL.
 *
 * @throws OptionError for an unknown kind or a beta that is not a finite number.
 */
export function divergenceBeta(divergence: Divergence, where = 'divergence'): number {
  switch (divergence?.kind) {
    case 'forward-kl':
      return 0;
    case 'reverse-kl':
      return 1;
    case 'jeffreys':
      if (!Number.isFinite(divergence.beta))
        throw new OptionError(`${where}.beta must be a finite number, got ${String(divergence.beta)}`);
      return divergence.beta;
    default:
      divergence satisfies never;
      throw new OptionError(
        `${where}.kind must be "forward-kl", "reverse-kl" or "jeffreys", got ${JSON.stringify(divergence)}`,
      );
  }
}
