/** The contract of a kind of teacher: from a configuration and weight files to a definition or a teacher. */
import type { DistillationOptions } from '../distillation/options.js';
import type { LoadedGenerator } from '../generator/generator.js';
import type { InspectedModel } from '../model/inspected-model.js';
import type { Teacher, TeacherDefinition } from '../model/model.js';
import type { FileContent } from '../storage/byte-stream.js';
import type { InspectedPart } from '../storage/inspected-part.js';
import type { WeightSource } from '../storage/weight-source.js';

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
   * The configuration of a teacher that is to be trained, completed by what follows from its data. `dimo train teacher`
   * gives it to `define`.
   *
   * @default the configuration as it is given
   */
  completeConfig?(
    config: Readonly<Record<string, unknown>>,
    data: TrainingDataFacts,
  ): Readonly<Record<string, unknown>>;
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
  files?(teacher: Teacher): Readonly<Record<string, FileContent>>;
  /**
   * Recognizes a public layout of weights that comes without a description of ours, by file names and small files; what
   * `dimo import` asks. Reading a file may mean fetching it, so nothing large is read unless the names fit.
   *
   * @param given - what a person says about the model: settings that the files do not hold, or that override what is
   *   found in them; keys as in the recognized `config`.
   * @param as - what a person says that it is, where its files may be either.
   * @returns undefined if the files are of another kind.
   * @throws OptionError if they are of this kind, but incomplete, of an unsupported version or ambiguous.
   */
  recognize?(
    source: WeightSource,
    given?: Readonly<Record<string, unknown>>,
    as?: RecognizedWeights['kind'],
  ): Promise<RecognizedWeights | undefined>;
  /**
   * Checks everything about the files that `load` reads but the numbers in them: names and shapes of all tensors, and
   * that all parts belong together. Reads small files and headers alone; what `dimo import` asks before it fetches.
   *
   * @param teacher - for what `recognize` calls a `generator`: its teacher.
   * @throws OptionError, WeightError as `load` and `loadReleasedGenerator`.
   */
  inspect?(
    config: Readonly<Record<string, unknown>>,
    source: WeightSource,
    teacher?: TeacherFiles,
  ): Promise<InspectedModel>;
  /** The `conditionFiles` of a folder, checked in the same way; for `inspectGenerator`. */
  inspectConditions?(config: Readonly<Record<string, unknown>>, source: WeightSource): Promise<InspectedPart[]>;
  /**
   * A one-step generator in a public layout, one that `recognize` calls `generator`.
   *
   * @param config - the recognized configuration.
   * @param sources - `generator`: its model. `teacher`: where decoder, text encoder and the like are.
   * @throws OptionError, WeightError if the two do not fit each other.
   */
  loadReleasedGenerator?(
    config: Readonly<Record<string, unknown>>,
    sources: { readonly generator: WeightSource; readonly teacher: TeacherFiles },
  ): Promise<LoadedGenerator>;
  /**
   * Settings of the official distillation of such teachers: keys of the section `distill` of the configuration file, for
   * `distill.preset: official`.
   */
  readonly officialDistillation?: OfficialDistillation;
}

/** A teacher as `load` takes it. */
export interface TeacherFiles {
  readonly config: Readonly<Record<string, unknown>>;
  readonly source: WeightSource;
}

/** Settings of an official distillation, and what its guidance leads away from. */
export type OfficialDistillation = DistillationOptions & { readonly negativePrompt?: string };

/** What is known of the images that a teacher is to be trained on. */
export interface TrainingDataFacts {
  /** Class names by label, where the dataset is known. */
  readonly classNames?: readonly string[] | undefined;
  /** Configuration of the tokenizer whose tokens it learns, plain JSON. */
  readonly tokenizer?: Readonly<Record<string, unknown>> | undefined;
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
  /** Why it is taken for a teacher or a generator, where its files may be either: `its file is named generator.bin`. */
  readonly kindReason?: string;
}

/** A setting that weights do not show, with the value that was taken. */
export interface AssumedSetting {
  /** In the recognized configuration: `transformer.heads`. */
  readonly key: string;
  readonly value: unknown;
  /** Why this value. */
  readonly reason: string;
}

/** A bundled teacher. */
export interface TeacherPreset {
  readonly description: string;
  /** Folder with config.json and weights, as a `file:` URL (`new URL('../../presets/mnist', import.meta.url).href`). */
  readonly location: string;
}
