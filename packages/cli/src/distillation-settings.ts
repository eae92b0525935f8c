/** From the configuration to the options of core's trainings. */
import type { DistillationOptions, TeacherTrainingOptions } from '@dimo/core';
import type { TokenizerTrainingOptions } from '@dimo/teacher-maskgit';
import type { DimoConfig } from './config/schema.js';

/** Options of a distillation. */
export function distillationOptions({ distill, seed }: Pick<DimoConfig, 'distill' | 'seed'>): DistillationOptions {
  const {
    divergence,
    teacherGuidance,
    tokenInit,
    generatorOptimizer,
    auxiliaryOptimizer,
    auxiliaryMaskSchedule,
    conditionDrop,
    sampleEvery: _sampleEvery,
    maxSkipped: _maxSkipped,
    prompts: _prompts,
    negativePrompt: _negativePrompt,
    ...same
  } = distill;
  const { warmupSteps, ...noise } = tokenInit.embeddingNoise;
  return {
    ...same,
    seed,
    tokenInit: { ...tokenInit, embeddingNoise: { ...noise, ...optional({ warmupSteps }) } },
    divergence:
      divergence.kind === 'jeffreys' ? { kind: 'jeffreys', beta: divergence.beta } : { kind: divergence.kind },
    teacherGuidance:
      teacherGuidance.kind === 'constant'
        ? teacherGuidance.scale
        : { kind: 'ratio-adaptive', scale: teacherGuidance.scale },
    generatorOptimizer: optimizerOptions(generatorOptimizer),
    auxiliaryOptimizer: optimizerOptions(auxiliaryOptimizer),
    ...optional({ auxiliaryMaskSchedule, conditionDrop }),
  };
}

/** Options of teacher training. */
export function teacherTrainingOptions({ train, seed }: Pick<DimoConfig, 'train' | 'seed'>): TeacherTrainingOptions {
  const { tokenizer: _tokenizer, config: _config, optimizer, ...same } = train.teacher;
  return { ...same, seed, optimizer: optimizerOptions(optimizer) };
}

/** Options of tokenizer training. */
export function tokenizerTrainingOptions({
  train,
  seed,
}: Pick<DimoConfig, 'train' | 'seed'>): TokenizerTrainingOptions {
  const { config: _config, optimizer, ...same } = train.tokenizer;
  return { ...same, seed, optimizer: optimizerOptions(optimizer) };
}

function optimizerOptions({ clipNorm, ...rest }: DimoConfig['distill']['generatorOptimizer']) {
  return { ...rest, ...optional({ clipNorm }) };
}

type Defined<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The properties that are set: an absent key and a key that is undefined are different things to a reader of types. */
function optional<T extends Record<string, unknown>>(values: T): Defined<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Defined<T>;
}
