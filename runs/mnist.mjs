/** docs/mnist.md: the bundled teacher, trained again, and one step against the teacher. About 40 minutes on two cores. */
import { repeatResult } from '../scripts/repeat-result.mjs';

repeatResult({
  name: 'mnist',
  steps: (inRuns) => [
    {
      dimo: ['train', 'tokenizer', '--dataset', 'mnist', '--seed', '0'],
      run: 'tokenizer',
      makes: inRuns('tokenizer', 'tokenizer'),
      tiny: ['--steps', '5'],
    },
    {
      dimo: [
        ...['train', 'teacher', '--dataset', 'mnist', '--seed', '0'],
        ...['--tokenizer', inRuns('tokenizer', 'tokenizer'), '--set', 'train.teacher.numSteps=3000'],
      ],
      run: 'teacher',
      makes: inRuns('teacher', 'teacher'),
      tiny: ['--set', 'train.teacher.numSteps=3'],
    },
    ...['0', '1', '2'].map((seed) => ({
      dimo: [
        ...['distill', '--teacher', 'mnist', '--guidance', '1.3', '--seed', seed],
        ...['--set', 'distill.numSteps=1000'],
      ],
      run: `generator-${seed}`,
      makes: inRuns(`generator-${seed}`, 'generator'),
      tiny: ['--set', 'distill.numSteps=2'],
    })),
    ...['0.75', '0.4'].map((temperature) => ({
      dimo: [
        ...['eval', '--teacher', 'mnist', '--set', `sample.temperature=${temperature}`],
        ...['0', '1', '2'].flatMap((seed) => ['--model', inRuns(`generator-${seed}`, 'generator')]),
        ...['--out', inRuns(`eval-${temperature}.json`)],
      ],
      makes: inRuns(`eval-${temperature}.json`),
      tiny: ['--count', '50', '--teacher-steps', '[2,1]'],
    })),
  ],
});
