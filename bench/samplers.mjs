/**
 * The laboratory of samplers: total variation between a law with exact conditionals and what each sampler makes of it,
 * enumerated, at several numbers of steps. Two laws of three tokens with three values: one whose tokens depend weakly on
 * each other, one where they depend strongly.
 *
 *   node bench/samplers.mjs [--steps 2,4,8,16]
 */
import { redrawn, sampledDistribution, totalVariation } from '@dimo/core/conformance';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { steps: { type: 'string', default: '2,4,8,16' } } });
const steps = values.steps.split(',').map(Number);

/** numpy.random.default_rng(0).dirichlet(numpy.ones(27) * c), rounded to seven digits and normalized. */
const laws = {
  'weakly dependent (c = 3)': [
    0.0371308, 0.0497496, 0.0243136, 0.0698558, 0.0216109, 0.0228783, 0.0049912, 0.0142684, 0.0241703, 0.0438363,
    0.0317744, 0.022212, 0.0571788, 0.0210024, 0.02564, 0.0172201, 0.0311651, 0.0391373, 0.0223914, 0.0537185,
    0.0141148, 0.0712801, 0.0402919, 0.0751896, 0.0880532, 0.0425066, 0.0343189,
  ],
  'strongly dependent (c = 0.3)': [
    0.0286814, 0.0000031, 0.0727783, 0.0243771, 0.016913, 0.0988021, 0.0454353, 0.1032964, 0.002324, 0.0000009,
    0.0340529, 0.0255689, 0.036644, 0.0371641, 0.0001632, 0.0150914, 0.0116284, 0.2081879, 0.0199841, 0.0227636,
    0.0056681, 0.0009225, 0.0000335, 0.062049, 0.1150311, 0.0034056, 0.00903,
  ],
};

const fixedSteps = {
  maskgit: { name: 'maskgit', choiceTemperature: 0 },
  'maskgit, random order': { name: 'maskgit', confidence: 'random' },
  halton: { name: 'halton' },
  ancestral: { name: 'ancestral' },
  'tau-leaping, to 0.1': { name: 'tau-leaping', finalTime: 0.1 },
  'theta-trapezoidal, to 0.1': { name: 'theta-trapezoidal', finalTime: 0.1 },
  'remdm, cap 0.02': { name: 'remdm' },
};
const adaptive = [0, 0.5, 1, 2].map((gamma) => ({ name: 'entropy-bound', gamma }));

for (const [title, unscaled] of Object.entries(laws)) {
  const total = unscaled.reduce((sum, p) => sum + p, 0);
  const law = { length: 3, codebookSize: 3, probabilities: unscaled.map((p) => p / total) };
  // Methods that stop before the end are compared with the law whose last tokens are drawn in one pass.
  const stopped = redrawn(law, 0.1);
  console.log(`\n${title}: total variation (mean passes)`);
  console.log(`${'sampler'.padEnd(28)}${steps.map((n) => `${n} steps`.padStart(18)).join('')}`);
  for (const [label, settings] of Object.entries(fixedSteps)) {
    const cells = [];
    for (const numSteps of steps) {
      // Remasking multiplies what has to be enumerated.
      if (settings.name === 'remdm' && numSteps > 8) continue;
      const { probabilities, passes } = await sampledDistribution(law, { ...settings, numSteps });
      const target = 'finalTime' in settings ? stopped : law.probabilities;
      cells.push(`${totalVariation(probabilities, target).toPrecision(3)} (${passes.toFixed(1)})`.padStart(18));
    }
    console.log(`${label.padEnd(28)}${cells.join('')}`);
  }
  for (const settings of adaptive) {
    const { probabilities, passes } = await sampledDistribution(law, settings);
    const error = totalVariation(probabilities, law.probabilities);
    console.log(
      `${`entropy-bound, ${settings.gamma} nats`.padEnd(28)}${`${error.toPrecision(3)} (${passes.toFixed(1)})`.padStart(18)}`,
    );
  }
}
