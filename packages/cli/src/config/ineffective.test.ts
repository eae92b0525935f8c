/** Every key of the schema is read by a command, and what was typed without effect is refused. */
import { describe, expect, it } from 'vitest';
import type { ConfiguredCommand } from '../flags/flags.js';
import { checkConfig } from './check.js';
import { allKeyPaths } from './describe-schema.js';
import { refuseIneffective } from './ineffective.js';
import type { DimoConfig } from './schema.js';

const commands: readonly ConfiguredCommand[] = [
  'distill',
  'train tokenizer',
  'train teacher',
  'sample',
  'eval',
  'serve',
  'demo',
];

/** The error of a command with some settings typed, or undefined. */
function failure(command: ConfiguredCommand, typed: readonly string[], values: unknown = {}): string | undefined {
  const config = checkConfig(values, () => '').config as DimoConfig;
  const places = new Map(typed.map((key) => [key, `--set ${key}=...`]));
  try {
    refuseIneffective({ config, typed: places }, command);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('a typed setting', () => {
  it('of every key has an effect on some command', () => {
    const conditional = /it needs/;
    const idle = allKeyPaths()
      .map((path) => path.join('.'))
      .filter((key) => commands.every((command) => !conditional.test(failure(command, [key]) ?? 'it needs')));
    expect(idle).toEqual([]);
  });

  it.each([
    ['distill', 'eval.count'],
    ['distill', 'pictures.size'],
    ['distill', 'train.teacher.numSteps'],
    ['train tokenizer', 'distill.numSteps'],
    ['train tokenizer', 'train.teacher.numSteps'],
    ['train teacher', 'teacher.source'],
    ['sample', 'dataset'],
    ['eval', 'seed'],
    ['eval', 'sample.count'],
    ['serve', 'sample.count'],
    ['demo', 'sample.classes'],
  ] as const)('on dimo %s: %s is refused', (command, key) => {
    expect(failure(command, [key])).toBe(`--set ${key}=... has no effect: \`dimo ${command}\` does not read ${key}`);
  });

  it.each([
    ['distill.divergence.beta', { distill: { divergence: { kind: 'jeffreys' } } }],
    [
      'distill.tokenInit.embeddingNoise.warmupSteps',
      { distill: { tokenInit: { embeddingNoise: { kind: 'linear', warmupSteps: 3 } } } },
    ],
    ['distill.softTemperature', { distill: { softWeight: 0.5 } }],
    ['distill.learningRateSchedule.constantFraction', {}, { distill: { learningRateSchedule: { kind: 'cosine' } } }],
    ['distill.learningRateSchedule.finalFraction', {}, { distill: { learningRateSchedule: { kind: 'constant' } } }],
    ['distill.negativePrompt', {}, { distill: { teacherGuidance: 1 } }],
    ['distill.maxSkipped', {}, { distill: { onNonFinite: 'throw' } }],
  ] as const)('%s needs another setting', (key, effective: unknown, idle: unknown = {}) => {
    expect(failure('distill', [key], effective)).toBeUndefined();
    expect(failure('distill', [key], idle)).toMatch(/has no effect: it needs /);
    // A file may hold what the command at hand does not need.
    expect(failure('distill', [], idle)).toBeUndefined();
  });

  it('and one in a file: teacher.config needs teacher.plugin', () => {
    expect(failure('distill', [], { teacher: { config: { depth: 2 } } })).toMatch(/teacher\.config has no effect/);
    expect(failure('distill', [], { teacher: { plugin: 'maskgit', config: { depth: 2 } } })).toBeUndefined();
  });
});
