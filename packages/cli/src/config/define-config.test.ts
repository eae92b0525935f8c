/** The types of a configuration program; the compiler checks this file. */
import { describe, expect, it } from 'vitest';
import { checkConfig, defineConfig, type DimoConfig, type ResolvedConfig } from '../index.js';

describe('defineConfig', () => {
  it('accepts any of the keys, at every level', () => {
    const configs: DimoConfig[] = [
      defineConfig({}),
      defineConfig({ seed: 3 }),
      defineConfig({ distill: { numSteps: 10, teacherGuidance: 2 } }),
      defineConfig({ distill: { teacherGuidance: { kind: 'ratio-adaptive' }, tokenInit: { maskRatio: [0.4, 0.6] } } }),
      defineConfig({ distill: { generatorOptimizer: { beta1: 0.5 }, divergence: { kind: 'jeffreys', beta: 0.2 } } }),
      defineConfig({ train: { tokenizer: { config: { codebookSize: 32 } } }, eval: { teacherSteps: [4, 1] } }),
      { plugins: ['./mine.js'], run: { name: 'a' } },
    ];
    for (const config of configs) expect(checkConfig(config, () => '').problems).toEqual([]);
  });

  it('refuses other keys and values, as the check does', () => {
    const configs = [
      // @ts-expect-error: no such key
      defineConfig({ sede: 3 }),
      // @ts-expect-error: no such key in a section
      defineConfig({ distill: { numStep: 3 } }),
      // @ts-expect-error: not a number
      defineConfig({ distill: { numSteps: '3' } }),
      // @ts-expect-error: not one of the choices
      defineConfig({ distill: { divergence: { kind: 'kl' } } }),
      // @ts-expect-error: neither a number nor a section
      defineConfig({ distill: { teacherGuidance: 'strong' } }),
    ];
    for (const config of configs) expect(checkConfig(config, () => '').problems).toHaveLength(1);
  });

  it('leads to a configuration of all keys', () => {
    const resolved: ResolvedConfig = checkConfig(defineConfig({ seed: 3 }), () => '').config!;
    expect(resolved.distill.numSteps).toBe(1000);
    // @ts-expect-error: keys are missing
    const incomplete: ResolvedConfig = { seed: 3 };
    expect(incomplete).toEqual({ seed: 3 });
  });
});
