/** Session options of onnxruntime: the names that its JavaScript packages have for them, through the C API. */
import type { OrtApi, Pointer } from './ort-api.js';
import { pointersTo, textOf } from './ort-memory.js';

/** Options that are understood. Others are refused, since they would do nothing. */
export interface NativeSessionOptions {
  /** Names of providers, or names with options. */
  readonly executionProviders?: readonly (string | ({ readonly name: string } & Readonly<Record<string, unknown>>))[];
  readonly intraOpNumThreads?: number;
  readonly interOpNumThreads?: number;
  readonly executionMode?: 'sequential' | 'parallel';
  readonly graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'all';
  readonly logSeverityLevel?: number;
  readonly enableMemPattern?: boolean;
  readonly enableCpuMemArena?: boolean;
  /** Config entries, nested by the dots of their names. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** Where outputs are left; see `NativeSession`. */
  readonly preferredOutputLocation?: Readonly<Record<string, string>>;
}

const levels = { disabled: 0, basic: 1, extended: 2, all: 99 };

type Setters = {
  readonly [Name in keyof Required<NativeSessionOptions>]: (
    api: OrtApi,
    options: Pointer,
    value: NonNullable<NativeSessionOptions[Name]>,
  ) => void;
};

const setters: Setters = {
  executionProviders: (api, options, providers) => {
    for (const provider of providers) appendProvider(api, options, provider);
  },
  intraOpNumThreads: (api, options, threads) => api.call('SetIntraOpNumThreads', options, threads),
  interOpNumThreads: (api, options, threads) => api.call('SetInterOpNumThreads', options, threads),
  executionMode: (api, options, mode) => api.call('SetSessionExecutionMode', options, mode === 'parallel' ? 1 : 0),
  graphOptimizationLevel: (api, options, level) => api.call('SetSessionGraphOptimizationLevel', options, levels[level]),
  logSeverityLevel: (api, options, level) => api.call('SetSessionLogSeverityLevel', options, level),
  enableMemPattern: (api, options, isOn) => api.call(isOn ? 'EnableMemPattern' : 'DisableMemPattern', options),
  enableCpuMemArena: (api, options, isOn) => api.call(isOn ? 'EnableCpuMemArena' : 'DisableCpuMemArena', options),
  extra: (api, options, entries) => {
    for (const [key, value] of configEntries(entries)) api.call('AddSessionConfigEntry', options, key, value);
  },
  preferredOutputLocation: () => {}, // a matter of each run's binding
};

/** Makes session options, to be released by the caller. @throws Error for an option or provider that is not known. */
export function makeSessionOptions(api: OrtApi, given: NativeSessionOptions): Pointer {
  const options = api.make('CreateSessionOptions');
  try {
    for (const [name, value] of Object.entries(given)) {
      const set = setters[name as keyof Setters] as ((...args: unknown[]) => void) | undefined;
      if (!set)
        throw new Error(`session options: there is no option "${name}"; known are ${Object.keys(setters).join(', ')}`);
      if (value !== undefined) set(api, options, value);
    }
    return options;
  } catch (error) {
    api.call('ReleaseSessionOptions', options);
    throw error;
  }
}

/** `{ session: { intra_op: { allow_spinning: '0' } } }` as `session.intra_op.allow_spinning` and `0`. */
export function configEntries(nested: Readonly<Record<string, unknown>>): [key: string, value: string][] {
  return Object.entries(nested).flatMap(([key, value]): [string, string][] =>
    typeof value === 'object' && value !== null
      ? configEntries(value as Record<string, unknown>).map(([rest, text]) => [`${key}.${rest}`, text])
      : [[key, String(value)]],
  );
}

function appendProvider(
  api: OrtApi,
  options: Pointer,
  provider: NonNullable<NativeSessionOptions['executionProviders']>[number],
): void {
  const { name, ...settings } = typeof provider === 'string' ? { name: provider } : provider;
  if (name === 'cpu') return; // always there, behind all others
  if (name !== 'cuda') throw new Error(`session options: there is no provider "${name}"; known are cpu and cuda`);
  const cuda = api.make('CreateCUDAProviderOptions');
  try {
    const [keys, values] = [Object.keys(settings), Object.values(settings)].map((texts) =>
      texts.map((text) => textOf(String(text))),
    );
    api.call('UpdateCUDAProviderOptions', cuda, pointersTo(api, keys!), pointersTo(api, values!), keys!.length);
    api.call('SessionOptionsAppendExecutionProvider_CUDA_V2', options, cuda);
  } finally {
    api.call('ReleaseCUDAProviderOptions', cuda);
  }
}
