/**
 * Flags that are short names of configuration keys. Commands list them as data; the value typed becomes a setting of
 * the configuration, checked by the same schema as the file.
 */
import { Option, type Command } from 'commander';

/** A flag for one key. */
export interface ConfigFlag {
  /** As commander writes it: `--steps <n>`. */
  readonly flags: string;
  /** Key it sets: `distill.numSteps`. */
  readonly key: string;
  readonly description: string;
  /** Values that complete in a shell; others are checked by the schema. */
  readonly suggestions?: readonly string[];
}

const seed = { flags: '--seed <n>', key: 'seed', description: 'seed of everything random' };
const engine = {
  flags: '--engine <name>',
  key: 'engine.name',
  description: 'what computes: auto, or a name that `dimo doctor` lists',
  suggestions: [
    'auto',
    'onnx',
    'onnx-native',
    'onnx-webgpu',
    'onnx-cuda',
    'wasm',
    'webgpu',
    'cuda',
    'tensorflow',
    'cpu',
  ],
};
const threads = { flags: '--threads <n>', key: 'engine.threads', description: 'threads of CPU engines' };
const teacher = {
  flags: '--teacher <name|folder>',
  key: 'teacher.source',
  description: 'a bundled teacher (mnist) or the folder of a trained one',
};
const teacherPlugin = { flags: '--teacher-plugin <name>', key: 'teacher.plugin', description: 'kind of teacher' };
const sampler = {
  flags: '--sampler <name>',
  key: 'sampler.name',
  description: 'multi-step sampler of the teacher, as `dimo info samplers` lists them',
  suggestions: [
    'maskgit',
    'halton',
    'ancestral',
    'tau-leaping',
    'theta-trapezoidal',
    'remdm',
    'entropy-bound',
    'confidence-threshold',
  ],
};
const dataset = {
  flags: '--dataset <name|folder>',
  key: 'dataset',
  description: 'a dataset by name, or a folder of pictures',
  suggestions: ['mnist', 'fashion-mnist'],
};
const runs = { flags: '--runs <folder>', key: 'run.folder', description: 'folder that holds the runs' };
const name = { flags: '--name <name>', key: 'run.name', description: 'name of this run' };
const checkpointSteps = {
  flags: '--checkpoint-steps <n>',
  key: 'checkpoint.everySteps',
  description: 'steps between checkpoints',
};
const checkpointMinutes = {
  flags: '--checkpoint-minutes <n>',
  key: 'checkpoint.everyMinutes',
  description: 'minutes between checkpoints',
};

/** Flags of every command that trains. */
const ofTheRun = [engine, threads, seed, runs, name, checkpointSteps, checkpointMinutes] as const;

/** Flags by command. */
export const configFlags = {
  distill: [
    teacher,
    dataset,
    teacherPlugin,
    {
      flags: '--algorithm <name>',
      key: 'distill.algorithm',
      description: 'distillation algorithm, as `dimo info algorithms` lists them',
      suggestions: ['dimo'],
    },
    { flags: '--steps <n>', key: 'distill.numSteps', description: 'iterations' },
    { flags: '--batch <n>', key: 'distill.batchSize', description: 'samples per step' },
    { flags: '--prompts <file>', key: 'distill.prompts', description: 'text file, one prompt a line' },
    { flags: '--guidance <scale>', key: 'distill.teacherGuidance.scale', description: 'guidance scale of the teacher' },
    { flags: '--init-mask-ratio <r>', key: 'distill.tokenInit.maskRatio', description: 'masked part of the input' },
    { flags: '--learning-rate <x>', key: 'distill.generatorLearningRate', description: 'peak, generator' },
    { flags: '--auxiliary-learning-rate <x>', key: 'distill.auxiliaryLearningRate', description: 'peak, auxiliary' },
    {
      flags: '--divergence <kind>',
      key: 'distill.divergence.kind',
      description: 'forward-kl, reverse-kl or jeffreys',
      suggestions: ['forward-kl', 'reverse-kl', 'jeffreys'],
    },
    { flags: '--beta <x>', key: 'distill.divergence.beta', description: 'for jeffreys: share of the reverse KL' },
    { flags: '--sample-every <n>', key: 'distill.sampleEvery', description: 'steps between sample grids' },
    ...ofTheRun,
  ],
  'train tokenizer': [
    dataset,
    { flags: '--steps <n>', key: 'train.tokenizer.numSteps', description: 'training steps' },
    { flags: '--batch <n>', key: 'train.tokenizer.batchSize', description: 'images per step' },
    { flags: '--learning-rate <x>', key: 'train.tokenizer.learningRate', description: 'peak learning rate' },
    ...ofTheRun,
  ],
  'train teacher': [
    dataset,
    teacherPlugin,
    { flags: '--tokenizer <folder>', key: 'train.teacher.tokenizer', description: 'folder of a trained tokenizer' },
    { flags: '--init <file>', key: 'train.teacher.init', description: 'weights or checkpoint to start from' },
    { flags: '--steps <n>', key: 'train.teacher.numSteps', description: 'training steps' },
    { flags: '--batch <n>', key: 'train.teacher.batchSize', description: 'sequences per step' },
    { flags: '--learning-rate <x>', key: 'train.teacher.learningRate', description: 'peak learning rate' },
    ...ofTheRun,
  ],
  sample: [
    teacher,
    teacherPlugin,
    { flags: '--count <n>', key: 'sample.count', description: 'number of samples' },
    { flags: '--classes <list>', key: 'sample.classes', description: 'class ids, names and ranges: 0-9, "3,cat"' },
    sampler,
    { flags: '--steps <n>', key: 'sample.steps', description: 'steps of the multi-step sampler (teacher)' },
    { flags: '--guidance <scale>', key: 'sample.guidance', description: 'guidance of the multi-step sampler' },
    {
      flags: '--negative-prompt <text>',
      key: 'sample.negativePrompt',
      description: 'what guidance leads away from (teacher)',
    },
    { flags: '--temperature <x>', key: 'sample.temperature', description: 'divides the logits of the generator' },
    { flags: '--embedding-noise <x>', key: 'sample.embeddingNoise', description: 'noise on the initial embeddings' },
    { flags: '--top-k <k>', key: 'sample.topK', description: 'only the k most probable ids' },
    { flags: '--top-p <p>', key: 'sample.topP', description: 'only the most probable ids up to this mass' },
    { flags: '--batch <n>', key: 'sample.batchSize', description: 'samples computed at once' },
    engine,
    threads,
    seed,
  ],
  eval: [
    teacher,
    teacherPlugin,
    dataset,
    { flags: '--count <n>', key: 'eval.count', description: 'samples per row' },
    sampler,
    { flags: '--teacher-steps <list>', key: 'eval.teacherSteps', description: 'rows of the teacher: [16,8,4,2,1]' },
    { flags: '--seeds <list>', key: 'eval.seeds', description: 'sampling seeds: [0,1,2]' },
    { flags: '--batch <n>', key: 'eval.batchSize', description: 'samples computed at once' },
    engine,
    threads,
  ],
  serve: [
    sampler,
    { flags: '--steps <n>', key: 'sample.steps', description: 'steps of the multi-step sampler (teacher)' },
    engine,
    threads,
  ],
  demo: [engine, threads, seed, runs, name],
  'dataset info': [],
} as const satisfies Readonly<Record<string, readonly ConfigFlag[]>>;

/** A command that has configuration flags. */
export type ConfiguredCommand = keyof typeof configFlags;

/** Adds the flags of a command, and those that every configured command has. */
export function addConfigFlags(command: Command, name: ConfiguredCommand): Command {
  for (const flag of configFlags[name]) command.addOption(new Option(flag.flags, `${flag.description} (${flag.key})`));
  return command
    .option('-c, --config <file>', 'configuration file instead of dimo.config.{yaml,json,ts}')
    .option('--set <key=value>', 'sets any key of the configuration; may be repeated', collect, [])
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, []);
}

/** Gathers the values of an option that may be repeated. */
export function collect(value: string, earlier: string[]): string[] {
  return [...earlier, value];
}

/** What was typed for the configuration: flags first, `--set` over them. */
export interface TypedSettings {
  /** What they were typed for. */
  readonly command: ConfiguredCommand;
  readonly file: string | undefined;
  readonly settings: readonly { readonly path: string; readonly text: string; readonly where: string }[];
  readonly plugins: readonly string[];
}

/** Reads the configuration flags that were given. */
export function typedSettings(name: ConfiguredCommand, options: Readonly<Record<string, unknown>>): TypedSettings {
  const settings: { path: string; text: string; where: string }[] = [];
  for (const flag of configFlags[name] as readonly ConfigFlag[]) {
    const attribute = new Option(flag.flags).attributeName();
    const value = options[attribute];
    const long = flag.flags.split(' ')[0]!;
    if (typeof value === 'string') settings.push({ path: flag.key, text: value, where: `${long} ${value}` });
  }
  for (const text of (options['set'] ?? []) as string[]) {
    const at = text.indexOf('=');
    if (at < 0) settings.push({ path: text, text: '', where: `--set ${text}` });
    else settings.push({ path: text.slice(0, at), text: text.slice(at + 1), where: `--set ${text}` });
  }
  return {
    command: name,
    file: options['config'] as string | undefined,
    settings,
    plugins: (options['plugin'] ?? []) as string[],
  };
}
