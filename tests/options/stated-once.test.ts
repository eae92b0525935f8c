/**
 * Every option of a training, a sampler or an evaluation is described once, by the schema of the package that owns it: its
 * default is what the interface uses where it is left out and what the configuration file says, and is written nowhere else.
 */
import {
  builtInSamplers,
  defineAlgorithm,
  dimoOptions,
  distillationRunOptions,
  embeddingNoiseScale,
  fields,
  learningRateFactor,
  pickOptions,
  prepareDistillation,
  resolveDistillation,
  resolveOptimizer,
  resolveSampler,
  resolveSampling,
  resolveTeacherTraining,
  resolveTokenInit,
  teacherTrainingOptions,
  tokenOptions,
  type DistillationRun,
  type PreparedDistillation,
  type Teacher,
} from '@dimo/core';
import { defaultJudgeSettings } from '@dimo/eval';
import { judgeOptions, manifoldOptions, referenceOptions } from '@dimo/eval/options';
import { resolveTokenizerTraining } from '@dimo/tokenizers';
import { tokenizerTrainingOptions } from '@dimo/tokenizers/options';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { configSchema } from '../../packages/cli/src/config/schema.js';
import { restatedDefaults } from './restated-defaults.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

const defaultsOf = (shape: z.ZodRawShape): unknown => z.strictObject(shape).parse({});

describe('what is left out', () => {
  it('is what the schema says, of every training, sampler and evaluation', () => {
    const { divergenceAttributes: _attributes, ...distillation } = resolveDistillation({});
    const schema = z.strictObject({ ...distillationRunOptions, ...dimoOptions }).parse({});
    expect(distillation).toEqual({
      ...schema,
      // In the form that is computed with; what these two follow from is said in their sentences.
      teacherGuidance: schema.teacherGuidance.scale,
      auxiliaryMaskSchedule: schema.maskSchedule,
      conditionDrop: 0,
    });
    expect(resolveTokenInit({})).toEqual(schema.tokenInit);
    expect(resolveTeacherTraining({})).toEqual(defaultsOf(teacherTrainingOptions));
    expect(resolveTokenizerTraining({})).toEqual(defaultsOf(tokenizerTrainingOptions));
    expect(resolveOptimizer({})).toEqual(defaultsOf(fields.optimizerOptions()));
    expect(resolveSampling({})).toEqual(defaultsOf(tokenOptions));
    expect(defaultJudgeSettings).toEqual(defaultsOf(judgeOptions));
    for (const { name, options } of builtInSamplers.values())
      expect(resolveSampler({ name }).options, name).toEqual(options.parse({}));
  });

  it('is what the schema says, of every key of a section that is given in part', () => {
    const { optimizer, learningRateSchedule } = resolveTeacherTraining({
      optimizer: { beta1: 0.5 },
      learningRateSchedule: { warmupSteps: 3 },
    });
    const schema = z.strictObject(teacherTrainingOptions).parse({});
    expect(optimizer).toEqual({ ...schema.optimizer, beta1: 0.5 });
    expect(learningRateSchedule).toEqual({ ...schema.learningRateSchedule, warmupSteps: 3 });
  });

  it('is what the schema says, of schedules that are computed with', () => {
    const schedule = z.strictObject(fields.scheduleOptions());
    const partly = { kind: 'constant-then-linear' } as const;
    for (const step of [0, 3, 8, 10])
      expect(learningRateFactor(partly, step, 10)).toBe(learningRateFactor(schedule.parse(partly), step, 10));
    const { scale } = z.strictObject(fields.embeddingNoiseOptions).parse({});
    expect(embeddingNoiseScale({}, 5)).toBe(scale);
  });

  it('is what the schema says, of the run that an algorithm is told', () => {
    let told: DistillationRun | undefined;
    const algorithm = defineAlgorithm({
      name: 'observed',
      description: 'sees its run',
      options: z.strictObject({}),
      prepare({ run }) {
        told = run;
        return {} as Omit<PreparedDistillation, 'algorithm'>;
      },
    });
    prepareDistillation({ algorithm, teacher: {} as Teacher });
    expect(told).toEqual(defaultsOf(distillationRunOptions));
  });
});

/** Sections of the configuration file and the schemas that describe them. */
const owners: readonly (readonly [section: string, owner: z.ZodRawShape])[] = [
  ['distill', { ...distillationRunOptions, ...dimoOptions, maxSkipped: fields.maxSkipped }],
  ['train.teacher', teacherTrainingOptions],
  ['train.tokenizer', tokenizerTrainingOptions],
  ['eval', { ...manifoldOptions, count: referenceOptions.sampleCount }],
  ['eval.judge', judgeOptions],
  ['sample', pickOptions(tokenOptions, { topK: tokenOptions.topK, topP: tokenOptions.topP })],
  ['checkpoint', { keep: fields.keptCheckpoints }],
  ['', { seed: fields.seed }],
];

/** The fields of a section of the configuration. */
function sectionAt(path: string): z.ZodRawShape {
  let shape: z.ZodRawShape = configSchema.shape;
  for (const key of path === '' ? [] : path.split('.')) shape = shapeOf(shape[key] as z.ZodType)!;
  return shape;
}

/** The fields of a section, whatever is around them; undefined for a value. */
function shapeOf(type: z.core.$ZodType): z.ZodRawShape | undefined {
  if (type instanceof z.ZodObject) return type.shape as z.ZodRawShape;
  if (type instanceof z.ZodPrefault || type instanceof z.ZodDefault) return shapeOf(type.unwrap());
  return type instanceof z.ZodPipe ? shapeOf(type.out) : undefined;
}

describe('the configuration file', () => {
  it.each(owners)('holds in its section "%s" the very fields of their owner', (section, owner) => {
    const shape = sectionAt(section);
    const names = Object.keys(owner).filter((name) => section === '' || name !== 'seed' || name in shape);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names) expect(shape[name] === owner[name], `${section}.${name}`).toBe(true);
  });
});

/** Names of all options with a default, those of sections included. */
function namesOf(shape: z.ZodRawShape): string[] {
  return Object.entries(shape).flatMap(([name, type]) => {
    const inner = shapeOf(type);
    if (inner) return namesOf(inner);
    return (type as z.ZodType).safeParse(undefined).data === undefined ? [] : [name];
  });
}

const owned = new Set([
  ...owners.flatMap(([, owner]) => namesOf(owner)),
  ...namesOf(referenceOptions),
  'maxSkippedInARow',
  ...[...builtInSamplers.values()].flatMap(({ options }) => namesOf(options.shape)),
]);

/** Source files of all packages, without tests. */
function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return /^(node_modules|dist|testing|test-support)$/.test(entry.name) ? [] : sources(path);
    return entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts') ? [path] : [];
  });
}

/** Defaults of what has the name of an option and is another thing: file and text. */
const others: readonly (readonly [file: string, text: string, why: string])[] = [
  ['packages/backend-node/src/hub/download.ts', 'kind', 'how a transfer failed'],
  ['packages/backend-node/src/hub/transfer-failure.ts', 'kind', 'how a transfer failed'],
  ['packages/core/src/conformance/op-cases.ts', 'scale = 1', 'of random numbers for a check'],
  ['packages/core/src/conformance/teacher.ts', 'count = 3', 'of conditions for a check'],
  ['packages/core/src/ops/attention.ts', 'scale', 'of the scores of an op'],
  ['packages/core/src/sampling/multi-step.ts', 'guidanceScale = 1', 'of one pass, which a sampler asks for'],
  ['packages/core/src/sampling/sampler.ts', 'guidanceScale', 'of one pass, which a sampler asks for'],
  ['packages/core/src/training/phase-program.ts', 'accumulation', 'of any program: most of them have no micro-steps'],
  ['packages/eval/src/feature-extractor.ts', 'batchSize', 'images whose features are extracted at once'],
  ['packages/pipeline/src/hosts/host.ts', 'batchSize', 'pictures that a pipeline computes at once'],
  ['packages/pipeline/src/pictures/image-grid.ts', 'scale', 'pixels of a picture'],
  ['packages/tokenizers/src/encode-images.ts', 'batchSize', 'images that are encoded at once'],
  ['packages/tokenizers/src/vqgan/config.ts', 'dropout', 'a key of published configurations, only recorded'],
];

/** Where the blocks of schemas are, with what is usual where a training has no default of its own. */
const blocks = 'packages/core/src/options/training-fields.ts';

describe('the sources', () => {
  const found = readdirSync(join(root, 'packages'))
    .flatMap((name) =>
      sources(join(root, 'packages', name, 'src')).flatMap((path) =>
        restatedDefaults(readFileSync(path, 'utf8'), owned).map(({ text, line }) => ({
          file: relative(root, path).replaceAll('\\', '/'),
          line,
          text,
        })),
      ),
    )
    .filter(({ file }) => file !== blocks);
  const isOther = ({ file, text }: (typeof found)[number]) =>
    others.some(([at, part]) => file === at && text.includes(part));

  it('state no default of an option that a schema has', () => {
    expect(owned.size).toBeGreaterThan(60);
    expect(found.filter((one) => !isOther(one)).map(({ file, line, text }) => `${file}:${line} ${text}`)).toEqual([]);
  });

  it('are listed with no exception that is none any more', () => {
    for (const [file, part] of others)
      expect(
        found.some((one) => one.file === file && one.text.includes(part)),
        `${file}: ${part}`,
      ).toBe(true);
  });

  it.each([
    ['const a = options.numSteps ?? 1000;', 1],
    ['const { numSteps = 1000, batchSize } = options;', 1],
    ['const { numSteps: steps = 1000 } = options;', 1],
    ['function train(numSteps = 1000) {}', 1],
    ["const a = options['numSteps'] ?? -1;", 1],
    ['const a = options.numSteps || 1000;', 1],
    ['const a = options.range ?? [0, 1];', 1],
    ["const a = options.optimizer ?? { kind: 'adam' };", 1],
    ['const a = asked ?? options.numSteps ?? 1000;', 1],
    ['interface A {\n /** Steps. @default 1000 */\n numSteps?: number }', 1],
    ['interface A {\n /** Steps. @default those of the teacher */\n numSteps?: number }', 0],
    ['const a = options.numSteps ?? fallback;', 0],
    ['const a = options.color ?? 1;', 0],
  ])('would be found out: %s', (source, count) => {
    expect(restatedDefaults(source, new Set(['numSteps', 'batchSize', 'range', 'optimizer']))).toHaveLength(count);
  });
});
