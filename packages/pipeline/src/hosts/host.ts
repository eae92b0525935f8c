/** What a host (Node, a browser) brings, and what it is told: the options of `pipeline` and how loading goes. */
import type { Engine, EngineOptions, Sampler, TeacherPlugin, WeightSource } from '@dimo/core';
import type { ModelFolder, TeacherPlugins } from '../model/read-model.js';
import type { ReadImageFile } from '../given/pixels.js';
import type { SaveFile } from '../pictures/picture.js';

/** How loading goes. */
export type LoadingProgress =
  /** Bytes of a file that have arrived; `totalBytes` where somebody has said so. */
  | {
      readonly stage: 'files';
      readonly file: string;
      readonly loadedBytes: number;
      readonly totalBytes: number | undefined;
    }
  /** An engine that is tried or measured. */
  | { readonly stage: 'engine'; readonly engine: string };

/** Options of `pipeline`. */
export interface PipelineOptions<Options extends EngineOptions = EngineOptions> {
  /** Name of an engine, `auto` for the fastest here, or an engine, which stays the caller's. @default 'auto' */
  readonly engine?: string | Engine | undefined;
  /** For the engine. */
  readonly engineOptions?: Options | undefined;
  /** Teachers beside those of this project. */
  readonly teachers?: readonly TeacherPlugin[] | undefined;
  /** Samplers beside those of core. */
  readonly samplers?: readonly Sampler[] | undefined;
  /** Pictures computed at once: 1, 2, 4, ... 256. @default 8 */
  readonly batchSize?: number | undefined;
  /** Browsers: address of a folder that has those of the presets in it. @default where the bundler has put their files */
  readonly presets?: string | undefined;
  /** Ends the loading with an error of code `cancelled`; once `pipeline` has resolved it has no effect. */
  readonly signal?: AbortSignal | undefined;
  /** Told until `pipeline` has resolved. */
  readonly onProgress?: ((progress: LoadingProgress) => void) | undefined;
}

/** What a host is told while something is opened. */
export interface OpeningContext {
  readonly signal: AbortSignal;
  readonly presets: string | undefined;
  /** Those that the model can ask for. */
  readonly teachers: TeacherPlugins;
  onProgress(progress: LoadingProgress): void;
}

/** Where files and engines come from. */
export interface PipelineHost<Options extends EngineOptions> {
  /** Names of engines, without `auto`. */
  readonly engines: readonly string[];
  /** Names of the options that engines read here. */
  readonly engineOptions: readonly (keyof Options & string)[];
  /** Whether `presets` says where those are. */
  readonly readsPresets: boolean;
  openEngine(
    name: string,
    options: Options | undefined,
    context: OpeningContext,
  ): Promise<{ readonly engine: Engine; readonly explanation: string }>;
  /** The files of a preset. */
  openPreset(name: string, context: OpeningContext): Promise<WeightSource> | WeightSource;
  /** The files at a place that is no preset. @throws OptionError if it can be none */
  openPlace(place: string, context: OpeningContext): Promise<WeightSource> | WeightSource;
  /** The model that a folder at a place only names; undefined where there is none. */
  openImport?(place: string, context: OpeningContext): Promise<ModelFolder | undefined>;
  /** What a place can be, for messages. */
  readonly places: string;
  readonly saveFile: SaveFile;
  /** Reads the file of an image that a call begins with; browsers have none. */
  readonly readImage?: ReadImageFile;
}
