import { describe, expect, it } from 'vitest';
import { watchHealth } from './health.js';

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

  it('sums up, and says nothing of runs without these metrics', () => {
    const watch = watchHealth(10);
    expect(watch.summary()).toBeUndefined();
    watch.observe(1, { 'generator/totalVariation': 0.1, 'generator/tokenEntropy': 1.5 });
    expect(watch.summary()).toBe('health: total variation auxiliary/teacher 0.100, token entropy 1.50 nats');
  });
});
