/**
 * Plugins: described objects without side effects on import. The user's own configuration or `--plugin` names them;
 * nothing that arrives with weights can.
 */
import type { Dataset, Pixels, TokenDataset } from '../training/dataset.js';
import type { AlgorithmRegistry, DistillationAlgorithm } from '../distillation/algorithm.js';
import { builtInAlgorithms } from '../distillation/built-in-algorithms.js';
import type { Engine, EngineFactory } from '../engine/engine.js';
import { PluginError } from '../errors.js';
import { fromContract1 } from '../model/forward-pass.js';
import { contractVersion } from '../model/model.js';
import { builtInSamplers } from '../sampling/built-in-samplers.js';
import type { SamplerRegistry } from '../sampling/resolve-sampler.js';
import type { Sampler } from '../sampling/sampler.js';
import type { TeacherPlugin } from './teacher-plugin.js';
import type { HostTensor, HostTree } from '../tensors/tensors.js';

/** Loads a dataset; `P` as for `DatasetSplit`. */
export interface DatasetPlugin<P extends Pixels = Pixels> {
  readonly name: string;
  readonly description: string;
  load(): Promise<Dataset<P>>;
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
  readonly contract: typeof contractVersion;
  readonly name: string;
  readonly engines?: readonly EngineFactory[];
  readonly teachers?: readonly TeacherPlugin[];
  readonly datasets?: readonly DatasetPlugin[];
  readonly tokenDatasets?: readonly TokenDatasetPlugin[];
  readonly metrics?: readonly MetricPlugin[];
  /** Multi-step samplers; their names differ from those of core. */
  readonly samplers?: readonly Sampler[];
  /** Distillation algorithms; their names differ from those of core. */
  readonly algorithms?: readonly DistillationAlgorithm[];
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
      {
        hint:
          (plugin.contract as unknown) === 1
            ? `without a teacher in it, only the number changes; with one, ${fromContract1}`
            : 'install matching versions of the plugin and @dimo/core',
      },
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
  /** Those of core too. */
  readonly samplers: SamplerRegistry;
  /** Those of core too. */
  readonly algorithms: AlgorithmRegistry;
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
    samplers: withBuiltIn('samplers', builtInSamplers, plugins),
    algorithms: withBuiltIn('algorithms', builtInAlgorithms, plugins),
  };
}

/** An option that nobody reads must be an error, so the schema of options has to be strict. */
function requireStrictOptions(kind: string, { name, options }: Pick<Sampler, 'name' | 'options'>): void {
  if ((options.def.catchall as { readonly type?: string } | undefined)?.type !== 'never')
    throw new PluginError(`${kind} "${name}": its options must be a strict object`, {
      hint: 'make them with z.strictObject({ ... })',
    });
}

/** Core's, and those of plugins. */
function withBuiltIn<K extends 'samplers' | 'algorithms'>(
  kind: K,
  builtIn: PluginRegistry[K],
  plugins: readonly DimoPlugin[],
): PluginRegistry[K] {
  const added = collect(plugins, kind);
  for (const item of added.values()) requireStrictOptions(kind, item);
  const taken = [...added.keys()].find((name) => builtIn.has(name));
  if (taken !== undefined) {
    const owner = plugins.find((plugin) => plugin[kind]?.some(({ name }) => name === taken));
    throw new PluginError(
      `plugin "${owner?.name}" provides "${taken}" under ${kind}, which is one of core's; it needs another name`,
    );
  }
  return new Map<string, unknown>([...builtIn, ...added]) as unknown as PluginRegistry[K];
}

function collect<
  K extends 'engines' | 'teachers' | 'datasets' | 'tokenDatasets' | 'metrics' | 'samplers' | 'algorithms',
>(plugins: readonly DimoPlugin[], kind: K): Map<string, NonNullable<DimoPlugin[K]>[number]> {
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
