import { describe, expect, it } from 'vitest';
import {
  healthLine,
  teacherHealth,
  tokenizerHealth,
  watchHealth,
  type FinalSamples,
  type Health,
  type HealthVerdict,
  type RunEnd,
} from './health.js';

/** Warnings of a run with the given course of the two signals. */
function warnings(course: (step: number) => { variation: number; entropy: number }, numSteps = 1000): string[] {
  const watch = watchHealth(numSteps);
  return Array.from({ length: numSteps }, (_, i) => {
    const { variation, entropy } = course(i + 1);
    return watch.observe(i + 1, { 'generator/totalVariation': variation, 'generator/tokenEntropy': entropy });
  }).flat();
}

describe('watchHealth', () => {
  it('is silent on a good run: a rise to 0.25 early, then down to 0.08', () => {
    expect(warnings((step) => ({ variation: step < 50 ? 0.25 : 0.08, entropy: step < 100 ? 2 : 1.3 }))).toEqual([]);
  });

  it('warns once of models that chase each other', () => {
    const found = warnings(() => ({ variation: 0.35, entropy: 1.5 }));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain('0.35 in total variation');
  });

  it('warns once of a collapse of the token entropy', () => {
    const found = warnings((step) => ({ variation: 0.1, entropy: step < 600 ? 1.5 : 0.4 }));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain('collapsing');
  });
});

/** Verdict of a run with the given course of the two signals. */
function verdictOf(
  course: (step: number) => { variation: number; entropy: number },
  { numSteps = 400, ...end }: Partial<RunEnd> & { numSteps?: number } = {},
  samples?: FinalSamples,
): Health {
  const watch = watchHealth(numSteps);
  for (let step = 1; step <= numSteps; step++) {
    const { variation, entropy } = course(step);
    watch.observe(step, { 'generator/totalVariation': variation, 'generator/tokenEntropy': entropy });
  }
  return watch.verdict({ steps: numSteps, skipped: 0, nonFinite: [], ...end }, samples);
}
const calm = () => ({ variation: 0.08, entropy: 1.3 });
const rows = (text: string) => [...text].map((token) => [Number(token), 1]);

describe('the verdict on a distillation', () => {
  it.each<[HealthVerdict, string, Health]>([
    ['good', 'health: good (totalVariation 0.0800, tokenEntropy 1.30)', verdictOf(calm)],
    ['doubtful', '0.40 in total variation; good runs', verdictOf(() => ({ variation: 0.4, entropy: 1.3 }))],
    ['destroyed', 'is noise', verdictOf(() => ({ variation: 0.8, entropy: 1.3 }))],
    [
      'destroyed',
      'fell from 1.50 to 0.40',
      verdictOf((step) => ({ variation: 0.1, entropy: step < 300 ? 1.5 : 0.4 }), { numSteps: 600 }),
    ],
    // Lost before anything was settled.
    ['destroyed', 'fell from 1.50', verdictOf((step) => ({ variation: 0.1, entropy: step < 20 ? 1.5 : 0.01 }))],
    [
      'destroyed',
      'in a short run',
      verdictOf((step) => ({ variation: 0.1, entropy: step < 20 ? 1.5 : 0.01 }), { numSteps: 90 }),
    ],
    ['destroyed', 'NaN or infinity (a.weight)', verdictOf(calm, { nonFinite: ['a.weight'] })],
    ['destroyed', '300 of 400 steps were skipped', verdictOf(calm, { skipped: 300 })],
    ['doubtful', '30 of 400 steps were skipped', verdictOf(calm, { skipped: 30 })],
    ['good', 'good', verdictOf(calm, { skipped: 3 })],
    ['destroyed', 'all 4 samples are the same', verdictOf(calm, {}, { rows: rows('1111'), conditions: [] })],
    [
      'destroyed',
      'all samples of one class are the same',
      verdictOf(calm, {}, { rows: rows('12121212'), conditions: [...'abababab'] }),
    ],
    ['good', 'good', verdictOf(calm, {}, { rows: rows('12121312'), conditions: [...'abababab'] })],
    // Nothing to lose: the data are deterministic.
    ['good', 'good', verdictOf(() => ({ variation: 0.01, entropy: 0.01 }), {}, { rows: rows('1111'), conditions: [] })],
    ['unknown', 'unknown', verdictOf(calm, { numSteps: 3 })],
  ])('%s: %s', (verdict, text, health) => {
    expect(health.verdict, healthLine(health)).toBe(verdict);
    if (text !== 'in a short run') expect(healthLine(health)).toContain(text);
    expect(health.reasons.length > 0).toBe(verdict === 'doubtful' || verdict === 'destroyed');
  });
});

describe('the verdict on a teacher and a tokenizer', () => {
  const end = (steps: number, more: Partial<RunEnd> = {}): RunEnd => ({ steps, skipped: 0, nonFinite: [], ...more });
  // ln 16 = 2.77
  const losses = { first: 2.9, last: 1.2, frequencies: 2.4, numTokens: 16 };
  it('of a teacher follows its loss', () => {
    expect(teacherHealth(end(500), losses).verdict).toBe('good');
    expect(teacherHealth(end(500), { ...losses, last: 2.5 }).verdict).toBe('doubtful');
    expect(teacherHealth(end(500), { ...losses, last: 9 })).toMatchObject({
      verdict: 'destroyed',
      reasons: ['a masked token costs 9.00 nats, more than a guess among 16 (2.77)'],
    });
    expect(teacherHealth(end(20), { ...losses, last: 2.85 }).verdict).toBe('good');
    expect(teacherHealth(end(3), { ...losses, last: 9 }).verdict).toBe('unknown');
    expect(teacherHealth(end(500, { nonFinite: ['x'] }), losses).verdict).toBe('destroyed');
  });

  it('of a tokenizer follows its reconstructions and codes', () => {
    const good = { testError: 0.01, variance: 0.06, perplexity: 30 };
    expect(tokenizerHealth(end(500), good).verdict).toBe('good');
    expect(tokenizerHealth(end(500), { ...good, testError: 0.06 }).verdict).toBe('destroyed');
    expect(tokenizerHealth(end(500), { ...good, testError: NaN }).verdict).toBe('destroyed');
    expect(tokenizerHealth(end(500), { ...good, perplexity: 1.01 }).verdict).toBe('destroyed');
    expect(tokenizerHealth(end(20), { ...good, testError: 0.06 }).verdict).toBe('unknown');
  });
});
