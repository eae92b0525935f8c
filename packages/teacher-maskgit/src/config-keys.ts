/** The keys of the configuration of a MaskGIT teacher, in words: for documentation and for `dimo info`. */
import type { ConfigKey } from '@dimo/tokenizers';

const count = 'an integer >= 1';

/** Keys of the configuration of a MaskGIT teacher, `train.teacher.config`. */
export const maskgitConfigKeys: readonly ConfigKey[] = [
  {
    key: 'transformer.hidden',
    accepts: 'a multiple of heads',
    standard: '96',
    meaning: 'Width of embeddings and activations.',
  },
  { key: 'transformer.depth', accepts: count, standard: '4', meaning: 'Number of blocks.' },
  { key: 'transformer.heads', accepts: count, standard: '4', meaning: 'Attention heads.' },
  { key: 'transformer.mlp', accepts: count, standard: '384', meaning: 'Width inside the MLPs.' },
  {
    key: 'transformer.embeddingDeviation',
    accepts: 'a number >= 0',
    standard: '0.1',
    meaning: 'Standard deviation of fresh token embeddings.',
  },
  { key: 'transformer.codebookSize', accepts: count, standard: 'that of the tokenizer', meaning: 'Number of codes.' },
  {
    key: 'transformer.grid',
    accepts: 'n, or [rows, columns]',
    standard: 'that of the tokenizer',
    meaning: 'Token grid.',
  },
  {
    key: 'transformer.numClasses',
    accepts: count,
    standard: 'the classes of the dataset',
    meaning: 'Number of classes.',
  },
  {
    key: 'classNames',
    accepts: 'a list of texts, or imagenet',
    standard: 'those of the dataset',
    meaning: 'Names of the classes by id; imagenet: those of ImageNet, with their synonyms.',
  },
  {
    key: 'tokenizer',
    accepts: 'a section, or null',
    standard: 'that of `train.teacher.tokenizer`',
    meaning: 'Tokenizer, as `train.tokenizer.config`; null for a teacher of bare tokens.',
  },
  {
    key: 'sampler',
    accepts: 'a section',
    standard: 'the standard sampler',
    meaning: 'Defaults of the multi-step sampler: numSteps, schedule, guidanceScale, ...',
  },
];
