/** `dimo sample`: a generator in one step, or a teacher in several. */
import {
  OptionError,
  resolveSampler,
  type Engine,
  type HostTensor,
  type LoadedGenerator,
  type Teacher,
  type SamplerRegistry,
  type SamplerSettings,
  type TeacherDefinition,
} from '@dimo/core';
import { extname, join, resolve } from 'node:path';
import { refuseTyped, severalStepsKeys } from '../config/ineffective.js';
import { exitOk } from '../output/failure.js';
import type { TypedSettings } from '../flags/flags.js';
import { defaultModel, findModel, findTeacher } from '../models/models.js';
import {
  conditionsFor,
  imageAt,
  knownTokensOf,
  residentModel,
  withKeptPixels,
  type GivenImage,
  type NamedConditions,
  type NetworkSettings,
} from '@dimo/pipeline';
import { readInitImage, type GivenImageArguments } from './sample-image.js';
import { openEngine, openProject, type Project } from '../project/session.js';
import { print, printError, printJson } from '../output/terminal.js';
import { generatorSettings, samplerAsked } from '../models/sampler-asked.js';
import { tellUnfinished } from '../run/tell-unfinished.js';

/** Arguments of `sample`. */
export interface SampleArguments extends GivenImageArguments {
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
  const source = await openSource(args, project);
  checkSampleOptions(args, source, project);
  const given = await readInitImage(args, source.name, source.generator?.definition ?? source.teacher!);
  await tellUnfinished([args.model ?? config.teacher.source], args);
  const { engine, explanation } = await openEngine(config.engine, project.registry);
  try {
    const { labels, numDifferent, tokens, numSteps, decode } = await draw(source, engine, {
      args,
      project,
      count,
      given,
    });
    const images = await decode();
    const written = images
      ? await writeImages(args, images, { tokens, labels, numDifferent, columns })
      : await writeSequences(args, tokens, labels);
    const seconds = (performance.now() - started) / 1000;
    if (args.json) {
      const { classNames } = (source.generator?.definition ?? source.teacher!).conditions;
      printJson({
        written,
        count,
        model: source.name,
        steps: numSteps,
        seconds,
        labels,
        ...(classNames ? { classNames } : {}),
      });
    } else if (!args.quiet) {
      printError(explanation);
      const some = written.length > 4 ? [...written.slice(0, 2), `and ${written.length - 2} more`] : written;
      const plural = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;
      print(`${plural(count, 'sample')} of ${source.name} in ${plural(numSteps, 'step')}: ${some.join(', ')}`);
    }
    return exitOk;
  } finally {
    await engine.dispose();
  }
}

/** @throws OptionError for options that do not go with what is sampled. */
function checkSampleOptions(args: SampleArguments, { name, generator, teacher }: SampleSource, project: Project): void {
  const { decoder, conditions, prepareConditions } = generator ? generator.definition : teacher!;
  if (generator) refuseTyped(project, severalStepsKeys, `${name} makes its samples in one step, without guidance`);
  else {
    refuseTyped(
      project,
      ['sample.embeddingNoise'],
      `${name} is sampled in several steps; it is for one-step generators`,
    );
    resolveSampler(samplerAsked(project), teacher!.sampler, project.registry.samplers);
  }
  if (args.model !== undefined) refuseTyped(project, ['teacher'], `--model ${args.model} is sampled`);
  if (prepareConditions && !conditions.classNames && project.config.sample.classes !== undefined)
    throw new OptionError(`sample: ${name} takes prompts, not classes (sample.classes)`, {
      hint: 'say what to generate: dimo sample "a red ball" ...',
    });
  const cut = conditions.check?.(args.prompts) ?? [];
  if (cut.length > 0 && !args.quiet)
    printError(`prompt ${cut[0]! + 1} is longer than the model reads: only its beginning counts`);
  checkOutputs(args, decoder !== undefined);
}

function checkOutputs({ out, tokens, images, columns }: SampleArguments, makesImages: boolean): void {
  if (tokens !== undefined && resolve(tokens) === resolve(out ?? (makesImages ? 'samples.png' : 'samples.json')))
    throw new OptionError(`--tokens and --out are both ${tokens}`, { hint: 'name two files' });
  const ending = out === undefined ? undefined : extname(out);
  if (makesImages && ending !== undefined && ending !== '.png')
    throw new OptionError(`--out must end in .png for images, got ${JSON.stringify(out)}`);
  if (makesImages) return;
  if (ending !== undefined && ending !== '.json' && ending !== '.txt')
    throw new OptionError(
      `--out must end in .json or .txt: this teacher makes sequences, not images; got ${JSON.stringify(out)}`,
    );
  if (images !== undefined) throw new OptionError('--images needs a teacher with an image decoder');
  if (columns !== undefined) throw new OptionError('--columns has no effect: sequences have no grid');
}

interface SampleSource {
  readonly name: string;
  /** The generator, unless a teacher is sampled. */
  readonly generator?: LoadedGenerator;
  readonly teacher?: Teacher;
}

async function openSource(args: SampleArguments, { config, registry, given }: Project): Promise<SampleSource> {
  const usesTeacher = args.teacherGiven || (args.model === undefined && given.has('teacher'));
  const name = usesTeacher ? undefined : (args.model ?? defaultModel);
  const found = name === undefined ? await findTeacher(config.teacher, registry) : await findModel(name, registry);
  if (!('generator' in found)) {
    const { source, plugin } = config.teacher;
    return { name: `teacher ${name ?? source ?? plugin ?? defaultModel}`, teacher: found.teacher };
  }
  if (config.sample.negativePrompt !== undefined)
    throw new OptionError(
      `sample: "${name}" is a one-step generator, which is not guided when it is sampled: a negative prompt (sample.negativePrompt) has no effect on it`,
      {
        hint: 'leave it out, sample the teacher with --teacher, or set distill.negativePrompt for a distillation',
      },
    );
  return { name: `generator ${name}`, generator: found.generator };
}

interface DrawnSamples extends Pick<NamedConditions, 'labels' | 'numDifferent'> {
  readonly tokens: HostTensor<'int32'>;
  readonly numSteps: number;
  /** Images of the tokens; undefined if the model makes none. */
  readonly decode: () => Promise<HostTensor<'float32'> | undefined>;
}

/**
 * Draws the tokens. Text encoder, model and decoder are on the engine one after another, and none of their weights stays
 * on the host: a large model needs memory for its largest part, not for all of them. A decoder that encodes a given image
 * stays until the end.
 */
async function draw(
  { generator, teacher }: SampleSource,
  engine: Engine,
  {
    args,
    project,
    count,
    given,
  }: {
    readonly args: SampleArguments;
    readonly project: Project;
    readonly count: number;
    readonly given: GivenImage | undefined;
  },
): Promise<DrawnSamples> {
  const { config, registry } = project;
  const settings = config.sample;
  const batchSize = Math.min(settings.batchSize, count);
  const model = residentModel(engine, { generator, teacher }, { samplers: registry.samplers, move: true });
  const network: NetworkSettings = generator
    ? { kind: 'generator', ...generatorSettings(settings) }
    : { kind: 'teacher', sampler: samplerAsked(project) };
  if (settings.negativePrompt !== undefined && network.kind === 'teacher')
    requireGuidance(network.sampler ?? {}, model.definition, registry.samplers);
  // Text encoders compute their conditions on the engine.
  const { conditions } = await model.prepared();
  const { condition, labels, numDifferent } = await conditionsFor(conditions, count, {
    prompts: args.prompts,
    classes: settings.classes,
    seed: config.seed,
  });
  const nullCondition =
    settings.negativePrompt === undefined ? undefined : await conditions.parse([settings.negativePrompt]);
  await model.release('conditions');
  const samples = Array.from({ length: count }, (_, index) => ({ seed: config.seed, index }));
  const { tokenSpace } = model.definition.model;
  const known = given && {
    tokens: knownTokensOf(given, await model.encode(given.image), samples, tokenSpace),
    isKept: given.drawn !== undefined,
  };
  const { tokens, passes } = await model.tokens({ network, condition, nullCondition, samples, known, batchSize });
  await model.release('networks');
  return {
    labels,
    numDifferent,
    tokens,
    numSteps: Number((passes.reduce((sum, some) => sum + some, 0) / count).toFixed(1)),
    async decode() {
      const images = await model.images(tokens, batchSize);
      await model.dispose();
      return given && images ? withKeptPixels(given, images) : images;
    },
  };
}

/** @throws OptionError if nothing would lead away from anything. */
function requireGuidance(
  asked: SamplerSettings,
  { sampler }: Pick<TeacherDefinition, 'sampler'>,
  samplers: SamplerRegistry,
): void {
  const { options } = resolveSampler(asked, sampler, samplers);
  if (options['guidanceScale'] === 1)
    throw new OptionError('sample: a negative prompt has no effect without guidance, and the guidance scale is 1', {
      hint: 'set another scale with --guidance, or leave the negative prompt out',
    });
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
  const { encodeGrid, encodeImage, gridColumns } = await import('../output/images.js');
  const out = args.out ?? 'samples.png';
  const count = images.shape[0]!;
  const files = new Map<string, Uint8Array>();
  // One image is an image, not a grid: its own size, as a program would take it.
  const isGrid = count > 1 || columns !== undefined;
  files.set(
    out,
    isGrid ? encodeGrid(images, columns ?? gridColumns(count, numDifferent)).png : encodeImage(imageAt(images, 0)),
  );
  if (args.images !== undefined) {
    const digits = String(count - 1).length;
    for (let i = 0; i < count; i++)
      files.set(join(args.images, `${String(i).padStart(digits, '0')}.png`), encodeImage(imageAt(images, i)));
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
  const lines = (): string =>
    sequencesOf(tokens)
      .map((row) => `${row.join(' ')}\n`)
      .join('');
  const files = new Map<string, Uint8Array>();
  files.set(out, extname(out) === '.txt' ? new TextEncoder().encode(lines()) : encodeTokens(tokens, labels));
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
  const { makeFolders } = await import('@dimo/backend-node');
  const { dirname } = await import('node:path');
  const { writeFileAtomically } = await import('../run/folder.js');
  const folders = new Set([...files.keys()].map((path) => dirname(path)));
  for (const folder of folders) await makeFolders(folder);
  for (const [path, bytes] of files) await writeFileAtomically(path, bytes);
  return [...files.keys()];
}
