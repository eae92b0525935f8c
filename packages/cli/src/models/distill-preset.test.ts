/** `distill.preset: official`: under the keys that are given, over the defaults. */
import { officialDistillation, resolveDistillation } from '@dimo/core';
import { officialMeissonicDistillation, officialNegativePrompt } from '@dimo/teacher-meissonic';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../config/load.js';
import { loadRegistry } from '../project/plugins.js';
import { openProject } from '../project/session.js';
import { distillationOptions } from '../training/distillation-settings.js';
import { presetSettings, withDistillPreset } from './distill-preset.js';

const setting = (path: string, text: string) => ({ path, text, where: `--set ${path}=${text}` });

async function project(...settings: [path: string, text: string][]) {
  const typed = settings.map(([path, text]) => setting(path, text));
  return openProject(
    { command: 'distill', file: undefined, settings: typed, plugins: [] },
    { complete: withDistillPreset },
  );
}

describe('distill.preset', () => {
  it('is the official run, as core resolves it', async () => {
    const { config } = await project(['distill.preset', 'official']);
    const { seed: _, ...official } = resolveDistillation(officialDistillation);
    expect(resolveDistillation(distillationOptions(config))).toEqual({ ...official, seed: config.seed });
    expect(config.distill.numSteps).toBe(50_001);
  });

  it('of another kind of teacher is another one, with its negative prompt', async () => {
    const registry = await loadRegistry([], process.cwd(), ['teachers']);
    const loaded = await loadConfig({ settings: [setting('distill.preset', 'official')] });
    const { config } = await withDistillPreset(loaded, registry, { plugin: 'meissonic', config: {} });
    const { seed: _, ...official } = resolveDistillation(officialMeissonicDistillation);
    expect(resolveDistillation(distillationOptions(config))).toEqual({ ...official, seed: config.seed });
    expect(config.distill.negativePrompt).toBe(officialNegativePrompt);
    const settings = presetSettings(config, 'meissonic', registry);
    expect(settings).toMatchObject({ preset: 'official', numSteps: 20_000, teacherGuidance: { scale: 4 } });
    expect(Object.keys(settings!)).not.toContain('labelSmoothing');
  });

  it('gives way to keys that are given, one by one, and in short form', async () => {
    const { config } = await project(
      ['distill.preset', 'official'],
      ['distill.numSteps', '7'],
      ['distill.teacherGuidance.kind', 'ratio-adaptive'],
      ['distill.tokenInit.embeddingNoise', '0.3'],
      ['distill.generatorOptimizer.beta2', '0.9'],
    );
    const { numSteps, teacherGuidance, tokenInit, generatorOptimizer } = config.distill;
    expect(numSteps).toBe(7);
    expect(teacherGuidance).toEqual({ kind: 'ratio-adaptive', scale: 2 });
    expect(tokenInit).toMatchObject({ maskRatio: 0.6, embeddingNoise: { scale: 0.3 }, noiseUnit: 'unit' });
    expect(generatorOptimizer).toMatchObject({ beta1: 0.9, beta2: 0.9, epsilon: 1e-6, clipNorm: 1 });
  });

  it('counts where it is asked whether a typed setting has an effect', async () => {
    // The schedule of the official run is constant: nothing falls to a last fraction.
    const wrong = project(['distill.preset', 'official'], ['distill.learningRateSchedule.finalFraction', '0.1']);
    await expect(wrong).rejects.toThrow(/finalFraction=0\.1 has no effect/);
  });

  it('of a run that is continued changes nothing of it', async () => {
    const base = { distill: { ...(await project(['distill.numSteps', '9'])).config.distill, preset: 'official' } };
    const typed = { command: 'distill', file: undefined, settings: [], plugins: [] } as const;
    const { config } = await openProject(typed, { base, complete: withDistillPreset });
    expect(config.distill).toEqual(base.distill);
  });

  it.each([
    [['teacher.plugin', 'emoji-meissonic'], /no official distillation of teachers of the kind "emoji-meissonic"/],
    [['teacher.source', 'nowhere'], /teacher "nowhere" is neither/],
    [['distill.algorithm', 'other'], /preset=official has no effect|of the algorithm dimo, not of other/],
    [['distill.preset', 'best'], /must be one of official/],
  ] as const)('%s is refused', async (other, message) => {
    await expect(project(['distill.preset', 'official'], [...other])).rejects.toThrow(message);
  });
});
