/** Recognizes the public layouts, for `dimo import`. */
import { sizeOf, type AssumedSetting, type PlainObject, type RecognizedWeights, type WeightSource } from '@dimo/core';
import { officialSampler } from '../teacher-config.js';
import { readPartConfig, releaseFiles, releaseKind } from './layout.js';
import { releaseOptions } from './options.js';
import { defaultGrid, defineReleasedTransformer } from './read-release.js';

/**
 * A release of Meissonic, or the transformer of a released one-step generator.
 *
 * @returns undefined for anything else; `config` is `{ layout }`, to be given to `load`.
 * @throws OptionError for a release that lacks parts, or a transformer of an unsupported variant.
 */
export async function recognizeRelease(
  source: WeightSource,
  given: PlainObject = {},
  as?: RecognizedWeights['kind'],
): Promise<RecognizedWeights | undefined> {
  const found = await releaseKind(source);
  if (found === undefined) return undefined;
  // A generator may be published with all parts.
  const kind = as === 'generator' ? 'generator' : found;
  const layout = kind === 'release' ? 'release' : 'released-generator';
  const config = { ...given, layout };
  const { parameters } = await defineReleasedTransformer(source, releaseOptions(config, layout));
  const count = Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const size = `transformer of ${formatCount(count)} parameters`;
  const files = await source.list();
  return kind === 'release'
    ? {
        kind: 'teacher',
        description: `Meissonic release, ${size}`,
        config,
        files: releaseFiles(files, ['transformer', 'vqvae', 'textEncoder']),
        assumed: await assumedSettings(source, given),
      }
    : {
        kind: 'generator',
        description: `one-step generator of Meissonic, ${size}`,
        config,
        files: releaseFiles(files, ['transformer']),
        assumed: [],
      };
}

/** Numbers that tensors do not show and that a `config.json` may leave to its library. */
const hiddenNumbers = {
  textEncoder: { num_attention_heads: 8, hidden_act: 'quick_gelu', layer_norm_eps: 1e-5, eos_token_id: 49407 },
  vqvae: { norm_num_groups: 32 },
} as const;

function gridSettings(given: PlainObject): AssumedSetting[] {
  const settings: AssumedSetting[] = [
    {
      key: 'grid',
      value: defaultGrid,
      reason: `weights do not show it; the release was trained on ${defaultGrid} x ${defaultGrid} tokens`,
    },
    { key: 'timestepMode', value: 'official', reason: 'as the official code tells the model the time' },
  ];
  return settings.filter(({ key }) => given[key] === undefined);
}

async function assumedSettings(source: WeightSource, given: PlainObject): Promise<AssumedSetting[]> {
  const sampler = { key: 'sampler', value: officialSampler, reason: 'how it is sampled is not in the weights' };
  const settings = [...gridSettings(given), ...(given['sampler'] === undefined ? [sampler] : [])];
  for (const part of ['textEncoder', 'vqvae'] as const) {
    const { config } = await readPartConfig(source, part);
    const half = config['text_config'] ?? config;
    const over = given[part] ?? {};
    for (const [key, value] of Object.entries(hiddenNumbers[part]))
      if (!(key in (half as PlainObject)) && !(key in (over as PlainObject)))
        settings.push({ key: `${part}.${key}`, value, reason: 'config.json does not say; the default of its library' });
  }
  return settings;
}

/** 1.01 B, 12.3 M, 96,000. */
function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} B`;
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} M` : count.toLocaleString('en-US');
}
