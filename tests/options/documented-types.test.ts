/** What an editor shows where options are given: the sentence and the default of the schema, in the declarations. */
import { fields } from '@dimo/core';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { documentOptions } from '../../scripts/document-options.mjs';

const options = {
  numSteps: fields.whole(1).default(10).describe('Steps of a training.'),
  noise: fields.sectionOrNumber({ scale: fields.finite().default(0.1).describe('Sigma, a */ in it.') }, 'scale'),
  optimizer: fields.section({ kind: z.enum(['adam']).default('adam').describe('Which.') }).describe('Optimizer.'),
  clip: fields.positive().optional().describe('Absent: none.'),
};

const declarations = `declare const options: {
    /** Of a teacher. */
    numSteps: z.ZodDefault<z.ZodNumber>;
    noise: z.ZodPrefault<z.ZodPreprocess<z.ZodObject<{
        scale: z.ZodDefault<z.ZodNumber>;
    }, z.core.$strict>, unknown>> & { _zod: { input: number } };
    optimizer: z.ZodPrefault<z.ZodObject<{
        kind: z.ZodDefault<z.ZodEnum<{ adam: "adam" }>>;
    }, z.core.$strict>>;
    clip: z.ZodOptional<z.ZodNumber>;
};
declare const other: { numSteps: number };
`;

describe('declarations of options', () => {
  it('say what the schema says, sections included', () => {
    const documented = documentOptions(declarations, { options });
    for (const line of [
      '/** Steps of a training. Of a teacher. @default 10 */ numSteps: z.ZodDefault',
      '/** Sigma, a * / in it. @default 0.1 */ scale: z.ZodDefault',
      '/** Optimizer. */ optimizer: z.ZodPrefault',
      '/** Which. @default "adam" */ kind: z.ZodDefault',
      '/** Absent: none. */ clip: z.ZodOptional',
      'declare const other: { numSteps: number };',
    ])
      expect(documented).toContain(line);
  });

  it('are left alone where nothing is an option', () => {
    expect(documentOptions(declarations, { other: { numSteps: 3 } })).toBe(declarations);
  });
});
