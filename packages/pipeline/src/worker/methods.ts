/** What a page can ask of its worker: parameters, events and results of every method. */
import type { DistillationOptions, EngineInfo, SamplerSettings } from '@dimo/core';

/** Where the files of a model are. */
export type ModelLocation =
  /** A folder on a server; relative to the page. */
  | { readonly kind: 'url'; readonly url: string }
  /** Files that a person picked, one folder or one file. */
  | { readonly kind: 'files'; readonly files: readonly LocatedFile[] };

/** A picked file with its path, which a `File` loses on its way to the worker. */
export interface LocatedFile {
  /** `webkitRelativePath`, or the name. */
  readonly path: string;
  readonly file: File;
}

/** Bytes that have arrived. */
export interface LoadProgress {
  readonly file: string;
  readonly loadedBytes: number;
  /** Absent where nobody has said. */
  readonly totalBytes?: number | undefined;
}

/** A sampler that a teacher can be asked for. */
export interface OfferedSampler {
  readonly name: string;
  /** One line. */
  readonly description: string;
  /** Whether it takes a number of steps; others take as many as they need. */
  readonly takesSteps: boolean;
}

/** A model that the worker holds. */
export interface LoadedModel {
  readonly id: number;
  readonly teacher?: {
    readonly name: string;
    /** Most passes of the teacher's own sampler. */
    readonly numSteps: number;
    /** Name of its own sampler, and all that it can be asked for. */
    readonly sampler: string;
    readonly samplers: readonly OfferedSampler[];
    readonly numParameters: number;
  };
  readonly generator?: {
    readonly model: string;
    readonly temperature: number;
    readonly numParameters: number;
  };
  /** Class names by id; absent where conditions are texts or bare ids. */
  readonly classNames?: readonly string[];
  /** True if conditions are written in words. */
  readonly takesPrompts: boolean;
  /** Height, width, channels. */
  readonly imageShape: readonly [height: number, width: number, channels: number];
  /** Rows and columns of the token grid. */
  readonly grid: readonly [rows: number, columns: number];
  readonly codebookSize: number;
}

/** The engine in use. */
export interface OpenedEngine {
  readonly info: EngineInfo;
  /** One sentence: what was picked, and why. */
  readonly explanation: string;
}

/** What to generate. */
export interface GenerateParameters {
  /** `LoadedModel.id`. */
  readonly model: number;
  readonly network: 'generator' | 'teacher';
  /** A class or prompt for each image. */
  readonly texts: readonly string[];
  readonly seed: number;
  /** Index of the first image: image i depends on the seed and i alone. @default 0 */
  readonly firstImage?: number;
  /** Of the teacher: name and options, which go before its own. @default what the teacher recommends */
  readonly sampler?: SamplerSettings;
  /** Of the generator. @default what it recommends */
  readonly temperature?: number;
  /** Whether the steps of the teacher are drawn. @default false */
  readonly frames?: boolean;
}

/** Pictures side by side in memory. */
export interface Pictures {
  readonly count: number;
  readonly width: number;
  readonly height: number;
  /** [count, height, width, 4], for `ImageData`. */
  readonly rgba: Uint8ClampedArray<ArrayBuffer>;
}

/** A step of the multi-step sampler. */
export interface Frame {
  /** Steps done, from 1. */
  readonly step: number;
  readonly numSteps: number;
  /** [count * L], 1 where a token is decided. */
  readonly isDecided: Uint8Array<ArrayBuffer>;
  /** What the decided tokens look like; undecided cells hold no meaning. */
  readonly pictures?: Pictures;
}

/** Images that were generated. */
export interface Generated {
  readonly pictures: Pictures;
  /** [count * L]. */
  readonly tokens: Int32Array<ArrayBuffer>;
  /** Most forward passes of an image, and how many they took on average. */
  readonly numSteps: number;
  readonly meanPasses: number;
  readonly milliseconds: {
    /** From the first random number to the last token, on an engine that is warm; drawing frames is not counted. */
    readonly sampling: number;
    readonly decoding: number;
  };
}

/** A distillation to be run. */
export interface DistillParameters {
  readonly model: number;
  /** Settings; the rest is core's defaults. */
  readonly options: Pick<
    DistillationOptions,
    'numSteps' | 'batchSize' | 'seed' | 'generatorLearningRate' | 'auxiliaryLearningRate'
  >;
  /**
   * Temperature that the generator will recommend. @default that of the generator beside the teacher, else that of core
   */
  readonly temperature?: number;
  /** A class or prompt for each sample image. */
  readonly sampleTexts: readonly string[];
  /** Steps between samples, which are also what a lost device goes back to. @default 20 */
  readonly sampleEvery?: number;
  /** Goes on from the last samples of the run before, whose settings must be the same. @default false */
  readonly resume?: boolean;
}

/** How a distillation goes. */
export type DistillEvent =
  | {
      readonly kind: 'step';
      /** Steps done, from 1. */
      readonly step: number;
      readonly numSteps: number;
      readonly milliseconds: number;
      /** As `dimo distill` logs them: `generator/divergence`, `auxiliary/loss`. */
      readonly metrics: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'samples'; readonly step: number; readonly pictures: Pictures }
  | { readonly kind: 'paused' | 'resumed'; readonly step: number };

/** A file to be saved. */
export interface DownloadedFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The methods. */
export interface WorkerMethods {
  openEngine: { params: { readonly name: string }; event: never; result: OpenedEngine };
  load: { params: { readonly location: ModelLocation }; event: LoadProgress; result: LoadedModel };
  unload: { params: { readonly model: number }; event: never; result: undefined };
  generate: { params: GenerateParameters; event: Frame; result: Generated };
  distill: {
    params: DistillParameters;
    event: DistillEvent;
    result: { readonly step: number; readonly done: boolean };
  };
  pauseDistillation: { params: { readonly paused: boolean }; event: never; result: undefined };
  downloadGenerator: { params: undefined; event: never; result: DownloadedFile };
}
