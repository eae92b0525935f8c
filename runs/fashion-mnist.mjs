/** docs/fashion-mnist.md: tokenizer, teacher, generator and table. About 20 minutes on two cores. */
import { repeatResult } from '../scripts/repeat-result.mjs';

repeatResult({
  name: 'fashion-mnist',
  packages: { 'fashion-mnist': '1.1.0' },
  steps: (inRuns) => [
    {
      dimo: ['train', 'tokenizer', '--dataset', 'fashion-mnist', '--seed', '0'],
      run: 'tokenizer',
      makes: inRuns('tokenizer', 'tokenizer'),
      tiny: ['--steps', '5'],
    },
    {
      dimo: [
        ...['train', 'teacher', '--dataset', 'fashion-mnist', '--seed', '0'],
        ...['--tokenizer', inRuns('tokenizer', 'tokenizer'), '--set', 'train.teacher.numSteps=2000'],
      ],
      run: 'teacher',
      makes: inRuns('teacher', 'teacher'),
      tiny: ['--set', 'train.teacher.numSteps=3'],
    },
    {
      dimo: [
        ...['distill', '--teacher', inRuns('teacher', 'teacher'), '--seed', '0'],
        ...['--set', 'distill.numSteps=600', '--set', 'sample.temperature=0.75'],
      ],
      run: 'generator',
      makes: inRuns('generator', 'generator'),
      tiny: ['--set', 'distill.numSteps=2'],
    },
    {
      dimo: [
        ...['eval', '--teacher', inRuns('teacher', 'teacher'), '--model', inRuns('generator', 'generator')],
        ...['--dataset', 'fashion-mnist', '--count', '2000', '--teacher-steps', '[16,8,4,1]'],
        ...['--out', inRuns('eval.json')],
      ],
      makes: inRuns('eval.json'),
      tiny: ['--count', '50', '--teacher-steps', '[2,1]', '--set', 'eval.judge.numSteps=5'],
    },
    { dimo: ['report', inRuns('generator')], makes: inRuns('generator', 'report.html') },
  ],
});
