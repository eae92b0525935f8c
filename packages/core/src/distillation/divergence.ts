/** Which divergence between teacher and auxiliary drives the generator. */
import { z } from 'zod';
import { finite } from '../options/fields.js';
import type { GivenOptions } from '../options/option-types.js';
import { parseOptions } from '../options/parse-options.js';

/** Options of the divergence. */
export const divergenceOptions = {
  /** `forward-kl` KL(teacher || auxiliary) covers modes, `reverse-kl` KL(auxiliary || teacher) seeks them. */
  kind: z
    .enum(['forward-kl', 'reverse-kl', 'jeffreys'])
    .default('forward-kl')
    .describe('Divergence between teacher and auxiliary model.'),
  /** An official run used -0.2. */
  beta: finite().default(0).describe('For jeffreys: (1 - beta) forward KL + beta reverse KL; any real number.'),
};

const schema = z.strictObject(divergenceOptions);

/** A token-level divergence. */
export type Divergence = GivenOptions<typeof divergenceOptions>;

/**
 * The divergence as the weight of the reverse KL: 0 for the forward KL, 1 for the reverse KL.
 *
 * @throws OptionError for an unknown kind or a beta that is not a finite number.
 */
export function divergenceBeta(divergence: Divergence, where = 'divergence'): number {
  const { kind, beta } = parseOptions(schema, divergence, where);
  switch (kind) {
    case 'forward-kl':
      return 0;
    case 'reverse-kl':
      return 1;
    case 'jeffreys':
      return beta;
    default:
      return kind satisfies never;
  }
}
