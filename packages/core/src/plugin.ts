/**
 * Plugins: described objects without side effects on import. The user's own configuration or `--plugin` names them;
 * nothing that arrives with weights can.
 */
import type { Engine, EngineFactory } from './engine.js';
import { PluginError } from './errors.js';
import type { LoadedGenerator } from './generator-files.js';
import { contractVersion, type Teacher, type TeacherDefinition } from './model.js';
import type { HostTensor, HostTree } from './tensors.js';

/** Files by relative name, from a folder, a package or a server. Core never touches a file system itself. */
export interface WeightSource {
  /** The place in words, for error messages. */
  readonly location: string;
  /** Names of the files there. */
  list(): Promise<readonly string[]>;
  /**
   * Content of one file.
   *
   * @param maximumBytes - a longer file may be refused before it is read. @default any length
   * @throws DimoError with code `io` if it is absent.
   */
  read(name: string, maximumBytes?: number): Promise<Uint8Array>;
  /**
   * One file, to be read in parts; large weights then never lie in memory twice.
   *
   * @default the whole file, read at once
   * @throws DimoError with code `io` if it is absent.
   */
  open?(name: string): Promise<WeightFile>;
}

/** A file that is being read. */
export interface WeightFile {
  /** Bytes. */
  readonly length: number;
  /** Bytes from `begin` to before `end`, in memory of their own. */
  read(begin: number, end: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Opens a file of any source. */
export async function openWeightFile(source: WeightSource, name: string): Promise<WeightFile> {
  return source.open ? source.open(name) : bytesAsWeightFile(await source.read(name));
}

/** Bytes that are in memory already, as a file. @param bytes - borrowed until `close`. */
export function bytesAsWeightFile(bytes: Uint8Array): WeightFile {
  return {
    length: bytes.length,
    read: (begin, end) => Promise.resolve(bytes.slice(begin, end)),
    close: () => Promise.resolve(),
  };
}

/** Makes teachers of one kind from a plain JSON configuration and, where there are any, weight files. */
export interface TeacherPlugin {
  readonly name: string;
  /** One line for `dimo info`. */
  readonly description: string;
  /** Bundled weights by preset name, if the package ships any. */
  readonly presets?: Readonly<Record<string, TeacherPreset>>;
  /**
   * Architecture from configuration, without weights.
   *
   * @throws OptionError for an unknown or ill-typed key.
   */
  define(config: Readonly<Record<string, unknown>>): TeacherDefinition;
  /**
   * As `define`, for a folder with the `conditionFiles` of the definition.
   *
   * @default `define`, for teachers without such files
   * @throws OptionError, WeightError
   */
  defineFrom?(config: Readonly<Record<string, unknown>>, source: WeightSource): Promise<TeacherDefinition>;
  /** A definition with the weights found at `source`, checked strictly. @throws WeightError */
  load(config: Readonly<Record<string, unknown>>, source: WeightSource): Promise<Teacher>;
  /**
   * Content of a folder that `load` reads, by file name; what `dimo train teacher` writes.
   *
   * @default `model.safetensors` and, with a decoder, `decoder.safetensors`
   */
  files?(teacher: Teacher): Readonly<Record<string, Uint8Array>>;
  /**
   * Recognizes a public layout of weights that comes without a description of ours, by file names and small files; what
   * `dimo import` asks. Reading a file may mean fetching it, so nothing large is read unless the names fit.
   *
   * @param given - what a person says about the model: settings that the files do not hold, or that override what is
   *   found in them; keys as in the recognized `config`.
   * @returns undefined if the files are of another kind.
   * @throws OptionError if they are of this kind, but incomplete, of an unsupported version or ambiguous.
   */
  recognize?(source: WeightSource, given?: Readonly<Record<string, unknown>>): Promise<RecognizedWeights | undefined>;
  /**
   * Checks everything about the files that `load` reads but the numbers in them: names and shapes of all tensors, and
   * that all parts belong together. Reads small files and headers alone; what `dimo import` asks before it fetches.
   *
   * @param teacher - for what `recognize` calls a `generator`: the files of its teacher.
   * @throws OptionError, WeightError as `load` and `loadReleasedGenerator`.
   */
  inspect?(
    config: Readonly<Record<string, unknown>>,
    source: WeightSource,
    teacher?: WeightSource,
  ): Promise<InspectedModel>;
  /** The `conditionFiles` of a folder, checked in the same way; for `inspectGenerator`. */
  inspectConditions?(config: Readonly<Record<string, unknown>>, source: WeightSource): Promise<InspectedPart[]>;
  /**
   * A one-step generator in a public layout, one that `recognize` calls `generator`.
   *
   * @param config - the recognized configuration.
   * @param sources - `generator`: its model. `teacher`: decoder, text encoder and the like, from its teacher's files.
   * @throws WeightError if the files do not fit each other.
   */
  loadReleasedGenerator?(
    config: Readonly<Record<string, unknown>>,
    sources: { readonly generator: WeightSource; readonly teacher: WeightSource },
  ): Promise<LoadedGenerator>;
}

/** Weights in a public layout. */
export interface RecognizedWeights {
  /** `teacher`: complete. `generator`: the model of a one-step generator alone; the rest is that of its teacher. */
  readonly kind: 'teacher' | 'generator';
  /** What they are, for people: `Meissonic release, 1.01 B parameters`. */
  readonly description: string;
  /** Configuration for `load`, plain JSON. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Names of all files that `load` will read. */
  readonly files: readonly string[];
  /** Settings that the files do not hold. */
  readonly assumed?: readonly AssumedSetting[];
}

/** A setting that weights do not show, with the value that was taken. */
export interface AssumedSetting {
  /** In the recognized configuration: `transformer.heads`. */
  readonly key: string;
  readonly value: unknown;
  /** Why this value. */
  readonly reason: string;
}

/** A model whose files were checked without reading the weights. */
export interface InspectedModel {
  readonly definition: TeacherDefinition;
  readonly parts: readonly InspectedPart[];
}

/** A part of a model, as its files show it. */
export interface InspectedPart {
  /** `transformer`, `decoder`, `text encoder`. */
  readonly name: string;
  /** Files with its weights. */
  readonly files: readonly string[];
  /** Bytes of those files. */
  readonly bytes: number;
  /** Number of its parameters. */
  readonly parameters: number;
  /** What stands before the names of its tensors in the files, and what wrappers put into them. */
  readonly leftOut: readonly string[];
  /** Tensors in the files that are not used. */
  readonly unused: readonly string[];
}

/** A bundled teacher. */
export interface TeacherPreset {
  readonly description: string;
  /** Folder with config.json and weights, as a `file:` URL (`new URL('../presets/mnist/', import.meta.url).href`). */
  readonly location: string;
}

/** Images with labels. */
export interface Dataset {
  readonly name: string;
  /** Height, width, channels. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  readonly classNames: readonly string[];
  readonly train: DatasetSplit;
  readonly test: DatasetSplit;
}

/** One part of a dataset. */
export interface DatasetSplit {
  readonly count: number;
  /** uint8 pixels, row-major [count, H, W, C]. */
  readonly pixels: Uint8Array;
  /** int32 [count]. */
  readonly labels: HostTensor<'int32'>;
  /**
   * What each image shows in words, for teachers of text: one or more prompts for each of the `count` images. A prompt that
   * is there twice is trained twice as often.
   */
  readonly texts?: readonly (readonly string[])[];
}

/** Loads a dataset. */
export interface DatasetPlugin {
  readonly name: string;
  readonly description: string;
  load(): Promise<Dataset>;
}

/** Token sequences with their conditions, for teachers whose data need no tokenizer. */
export interface TokenDataset {
  readonly name: string;
  /** K: all tokens are in [0, K). */
  readonly codebookSize: number;
  /** int32 [count, L]. */
  readonly tokens: HostTensor<'int32'>;
  /** Condition of each sequence; every tensor has the leading axis `count`. */
  readonly condition: HostTree;
}

/** Loads or makes a token dataset. */
export interface TokenDatasetPlugin {
  readonly name: string;
  readonly description: string;
  load(): Promise<TokenDataset> | TokenDataset;
}

/** A number computed from generated tokens or images, for teachers whose product is not judged by image metrics. */
export interface MetricPlugin {
  readonly name: string;
  readonly description: string;
  /** True if larger is better. */
  readonly higherIsBetter: boolean;
  compute(samples: {
    readonly tokens: HostTensor<'int32'>;
    readonly images?: HostTensor<'float32'>;
    readonly condition: HostTree;
    /** What each sample was asked for, where that was a text. */
    readonly texts?: readonly string[];
    /** For metrics that run a network. */
    readonly engine?: Engine;
  }): Promise<number> | number;
}

/** What a package contributes. */
export interface DimoPlugin {
  readonly contract: 1;
  readonly name: string;
  readonly engines?: readonly EngineFactory[];
  readonly teachers?: readonly TeacherPlugin[];
  readonly datasets?: readonly DatasetPlugin[];
  readonly tokenDatasets?: readonly TokenDatasetPlugin[];
  readonly metrics?: readonly MetricPlugin[];
}

/**
 * Checks a plugin description and returns it.
 *
 * @throws PluginError if the contract version is another or the name is missing.
 */
export function definePlugin(plugin: DimoPlugin): DimoPlugin {
  if (typeof plugin?.name !== 'string' || plugin.name === '')
    throw new PluginError('definePlugin: a plugin needs a non-empty `name`');
  if (plugin.contract !== contractVersion)
    throw new PluginError(
      `plugin "${plugin.name}" is written for contract ${String(plugin.contract)}, this @dimo/core speaks ${contractVersion}`,
      { hint: 'install matching versions of the plugin and @dimo/core' },
    );
  return plugin;
}

/** All plugins of a process, by kind and name. */
export interface PluginRegistry {
  readonly plugins: readonly DimoPlugin[];
  readonly engines: ReadonlyMap<string, EngineFactory>;
  readonly teachers: ReadonlyMap<string, TeacherPlugin>;
  readonly datasets: ReadonlyMap<string, DatasetPlugin>;
  readonly tokenDatasets: ReadonlyMap<string, TokenDatasetPlugin>;
  readonly metrics: ReadonlyMap<string, MetricPlugin>;
}

/**
 * Joins plugins.
 *
 * @throws PluginError if two of them use one name for the same kind of thing, naming both.
 */
export function createRegistry(plugins: readonly DimoPlugin[]): PluginRegistry {
  return {
    plugins,
    engines: collect(plugins, 'engines'),
    teachers: collect(plugins, 'teachers'),
    datasets: collect(plugins, 'datasets'),
    tokenDatasets: collect(plugins, 'tokenDatasets'),
    metrics: collect(plugins, 'metrics'),
  };
}

function collect<K extends 'engines' | 'teachers' | 'datasets' | 'tokenDatasets' | 'metrics'>(
  plugins: readonly DimoPlugin[],
  kind: K,
): Map<string, NonNullable<DimoPlugin[K]>[number]> {
  const found = new Map<string, NonNullable<DimoPlugin[K]>[number]>();
  const owners = new Map<string, string>();
  for (const plugin of plugins)
    for (const item of definePlugin(plugin)[kind] ?? []) {
      const owner = owners.get(item.name);
      if (owner !== undefined)
        throw new PluginError(
          `plugins "${owner}" and "${plugin.name}" both provide "${item.name}" under ${kind}; remove one of them`,
        );
      owners.set(item.name, plugin.name);
      found.set(item.name, item);
    }
  return found;
}
