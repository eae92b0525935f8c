/** `dimo sample`: a generator in one step, or a teacher in several. */
import {
  OptionError,
  prepareTeacher,
  type ConditionSource,
  type HostTensor,
  type Teacher,
  type TeacherDefinition,
} from '@dimo/core';
import { extname, join } from 'node:path';
import { exitOk } from '../failure.js';
import type { TypedSettings } from '../flags.js';
import { findModel, findTeacher } from '../models.js';
import { conditionsFor, generatorSampler, samplingOf, teacherSampler, type Sampler } from '../samplers.js';
import { openEngine, openProject, type Project } from '../session.js';
import { print, printError } from '../terminal.js';

/** Arguments of `sample`. */
export interface SampleArguments {
  readonly typed: TypedSettings;
  /** True if a teacher was named on the command line. */
  readonly teacherGiven: boolean;
  /** Prompts or classes, one each. */
  readonly prompts: readonly string[];
  /** A generator, or a teacher to be sampled in several steps. @default `mnist`, unless a teacher is named */
  readonly model: string | undefined;
  readonly out: string | undefined;
  /** Folder for single images. */
  readonly images: string | undefined;
  /** File for the tokens. */
  readonly tokens: string | undefined;
  readonly columns: string | undefined;
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Generates samples and writes them. */
export async function sample(args: SampleArguments): Promise<number> {
  const project = await openProject(args.typed, { kinds: ['engines', 'teachers'] });
  const { config } = project;
  if (args.model !== undefined && args.teacherGiven)
    throw new OptionError('sample: --model and --teacher exclude each other; name one of them');
  if (args.prompts.length > 0 && config.sample.classes !== undefined)
    throw new OptionError('sample: prompts and --classes exclude each other; give one of them');
  // One image of each prompt, unless a number was asked for.
  const count =
    args.prompts.length > 0 && !project.given.has('sample.count') ? args.prompts.length : config.sample.count;
  const columns = args.columns === undefined ? undefined : readColumns(args.columns);
  const started = performance.now();
  const source = await openSource(args, project, count);
  try {
    const { condition, labels, numDifferent } = await conditionsFor(source.conditions, count, {
      prompts: args.prompts,
      classes: config.sample.classes,
      seed: config.seed,
    });
    const tokens = await source.sampler.tokens(condition, config.seed);
    const written = source.sampler.images
      ? await writeImages(args, await source.sampler.images(tokens), { tokens, labels, numDifferent, columns })
      : await writeSequences(args, tokens, labels);
    const seconds = (performance.now() - started) / 1000;
    if (args.json)
      print(JSON.stringify({ written, count, model: source.name, steps: source.sampler.numSteps, seconds }));
    else if (!args.quiet) {
      printError(source.explanation);
      print(
        `${count} samples of ${source.name} in ${source.sampler.numSteps} step${source.sampler.numSteps === 1 ? '' : 's'}: ${written.join(', ')}`,
      );
    }
    return exitOk;
  } finally {
    await source.dispose();
  }
}

interface SampleSource {
  readonly name: string;
  readonly sampler: Sampler;
  readonly conditions: ConditionSource;
  readonly explanation: string;
  dispose(): Promise<void>;
}

async function openSource(
  args: SampleArguments,
  { config, registry, given }: Project,
  count: number,
): Promise<SampleSource> {
  const settings = config.sample;
  const batchSize = Math.min(settings.batchSize, count);
  const usesTeacher = args.teacherGiven || (args.model === undefined && given.has('teacher'));
  const name = usesTeacher ? undefined : (args.model ?? 'mnist');
  const found = name === undefined ? await findTeacher(config.teacher, registry) : await findModel(name, registry);
  const { engine, explanation } = await openEngine(config.engine, registry);
  const generator = 'generator' in found ? found.generator : undefined;
  // Text encoders compute their conditions on the engine.
  const prepared = await prepareTeacher<TeacherDefinition>(
    engine,
    'generator' in found ? found.generator.definition : found.teacher,
  );
  const { teacher } = prepared;
  const sampler = generator
    ? await generatorSampler(engine, generator, { batchSize, ...samplingOf(generator, settings) })
    : await teacherSampler(engine, teacher as Teacher, {
        batchSize,
        sampler: {
          // A teacher knows better how many steps it needs than a default for all teachers.
          numSteps: given.has('sample.steps') ? settings.steps : (teacher.sampler?.numSteps ?? settings.steps),
          ...(settings.guidance === undefined ? {} : { guidanceScale: settings.guidance }),
        },
      });
  return {
    name: `${generator ? 'generator' : 'teacher'} ${name ?? config.teacher.source ?? config.teacher.plugin ?? 'mnist'}`,
    sampler,
    conditions: teacher.conditions,
    explanation,
    async dispose() {
      await sampler.dispose();
      await prepared.dispose();
      await engine.dispose();
    },
  };
}

function readColumns(text: string): number {
  const columns = Number(text);
  if (!Number.isInteger(columns) || columns < 1 || columns > 1000)
    throw new OptionError(`--columns must be an integer in [1, 1000], got ${JSON.stringify(text)}`);
  return columns;
}

interface ImageOptions {
  readonly tokens: HostTensor<'int32'>;
  readonly labels: readonly string[];
  readonly numDifferent: number;
  readonly columns: number | undefined;
}

async function writeImages(
  args: SampleArguments,
  images: HostTensor<'float32'>,
  { tokens, labels, numDifferent, columns }: ImageOptions,
): Promise<string[]> {
  const { encodeGrid, encodeImage, gridColumns } = await import('../images.js');
  const out = args.out ?? 'samples.png';
  if (extname(out) !== '.png') throw new OptionError(`--out must end in .png for images, got ${JSON.stringify(out)}`);
  const count = images.shape[0]!;
  const files = new Map<string, Uint8Array>();
  files.set(out, encodeGrid(images, columns ?? gridColumns(count, numDifferent)).png);
  if (args.images !== undefined) {
    const digits = String(count - 1).length;
    for (let i = 0; i < count; i++)
      files.set(join(args.images, `${String(i).padStart(digits, '0')}.png`), encodeImage(images, i));
  }
  if (args.tokens !== undefined) files.set(args.tokens, encodeTokens(tokens, labels));
  return writeFiles(files);
}

async function writeSequences(
  args: SampleArguments,
  tokens: HostTensor<'int32'>,
  labels: readonly string[],
): Promise<string[]> {
  const out = args.out ?? 'samples.json';
  if (args.images !== undefined) throw new OptionError('--images needs a teacher with an image decoder');
  const files = new Map<string, Uint8Array>();
  switch (extname(out)) {
    case '.json':
      files.set(out, encodeTokens(tokens, labels));
      break;
    case '.txt':
      files.set(
        out,
        new TextEncoder().encode(
          `${sequencesOf(tokens)
            .map((row) => row.join(' '))
            .join('\n')}\n`,
        ),
      );
      break;
    default:
      throw new OptionError(
        `--out must end in .json or .txt: this teacher makes sequences, not images; got ${JSON.stringify(out)}`,
      );
  }
  if (args.tokens !== undefined) files.set(args.tokens, encodeTokens(tokens, labels));
  return writeFiles(files);
}

function sequencesOf(tokens: HostTensor<'int32'>): number[][] {
  const [count, length] = tokens.shape as [number, number];
  return Array.from({ length: count }, (_, i) => [...tokens.data.subarray(i * length, (i + 1) * length)]);
}

/** One JSON line per sample would hide the count; an object says what it holds. */
function encodeTokens(tokens: HostTensor<'int32'>, labels: readonly string[]): Uint8Array {
  const rows = sequencesOf(tokens).map((row) => `    [${row.join(', ')}]`);
  const text = `{\n  "shape": [${tokens.shape.join(', ')}],\n  "labels": ${JSON.stringify(labels)},\n  "tokens": [\n${rows.join(',\n')}\n  ]\n}\n`;
  return new TextEncoder().encode(text);
}

async function writeFiles(files: ReadonlyMap<string, Uint8Array>): Promise<string[]> {
  const { mkdir } = await import('node:fs/promises');
  const { dirname } = await import('node:path');
  const { writeFileAtomically } = await import('../run/folder.js');
  const folders = new Set([...files.keys()].map((path) => dirname(path)));
  for (const folder of folders) await mkdir(folder, { recursive: true });
  for (const [path, bytes] of files) await writeFileAtomically(path, bytes);
  const names = [...files.keys()];
  return names.length > 4 ? [...names.slice(0, 2), `and ${names.length - 2} more`] : names;
}
