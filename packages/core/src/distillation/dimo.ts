/** The algorithm of the paper, Di[M]O (arXiv 2503.15457), in the slot. */
import { z } from 'zod';
import { defineAlgorithm } from './algorithm.js';
import { dimoOptions } from './dimo-options.js';
import { createDistillation } from './distillation.js';

/** The algorithm. */
export const dimoAlgorithm = defineAlgorithm({
  name: 'dimo',
  description:
    'one step by the divergence of teacher and auxiliary model on the generator\u2019s own samples (arXiv 2503.15457)',
  options: z.strictObject(dimoOptions),
  usesNegativeCondition: true,
  prepare({ teacher, options, run, models, negativeCondition, shard }) {
    return createDistillation(
      teacher,
      { ...run, ...options },
      { models, ...(negativeCondition ? { negativeCondition } : {}), ...(shard ? { shard } : {}) },
    );
  },
});
