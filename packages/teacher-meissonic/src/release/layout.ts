/** Files of the public release, a diffusers pipeline folder, and of the released one-step generator. */
import {
  escapeText,
  modelWeightFiles,
  OptionError,
  readJsonFile,
  requireObject,
  type PlainObject,
  type WeightSource,
} from '@dimo/core';

/** Names in a release. The scheduler's file tells nothing that is needed; if it is there, it has to fit. */
export const releaseLayout = {
  index: 'model_index.json',
  scheduler: 'scheduler/scheduler_config.json',
  tokenizer: 'tokenizer',
  transformer: { folder: 'transformer', base: 'diffusion_pytorch_model' },
  vqvae: { folder: 'vqvae', base: 'diffusion_pytorch_model' },
  textEncoder: { folder: 'text_encoder', base: 'model' },
} as const;

/** A part of a release with weights. */
export type WeightedPart = 'transformer' | 'vqvae' | 'textEncoder';

/** Class of the transformer in its `config.json`; other pipelines have other ones. */
const transformerClass = 'Transformer2DModel';

/**
 * Content of the `config.json` of a part, and its place for messages.
 *
 * @param given - values over those of the file.
 */
export async function readPartConfig(
  source: WeightSource,
  part: WeightedPart,
  given: PlainObject = {},
): Promise<{ readonly config: PlainObject; readonly where: string }> {
  const name = `${releaseLayout[part].folder}/config.json`;
  const where = escapeText(`${source.location}/${name}`);
  return { config: { ...requireObject(await readJsonFile(source, name), where), ...given }, where };
}

/**
 * Which of the two layouts a source has, from the names of its files and the transformer's `config.json`.
 *
 * @returns `release`: all parts. `generator`: the transformer alone. undefined: neither, or another kind of model.
 * @throws OptionError if a Meissonic transformer has some of the other parts, but not all.
 */
export async function releaseKind(source: WeightSource): Promise<'release' | 'generator' | undefined> {
  const files = await source.list();
  const { transformer, vqvae, textEncoder, tokenizer, index } = releaseLayout;
  if (!files.includes(`${transformer.folder}/config.json`)) return undefined;
  if (!(await isMeissonicTransformer(source))) return undefined;
  const parts: Record<string, boolean> = {
    [`${textEncoder.folder}/config.json`]: files.includes(`${textEncoder.folder}/config.json`),
    [`${tokenizer}/`]: files.some((name) => name.startsWith(`${tokenizer}/`)),
    [`${vqvae.folder}/config.json`]: files.includes(`${vqvae.folder}/config.json`),
  };
  const missing = Object.keys(parts).filter((part) => !parts[part]);
  if (missing.length === 0) return 'release';
  if (missing.length === Object.keys(parts).length && !files.includes(index)) return 'generator';
  throw new OptionError(
    `${escapeText(source.location)}: has a Meissonic transformer, but lacks ${missing.join(', ')} of the release`,
    {
      path: source.location,
      hint: 'fetch the whole release, or the transformer/ folder alone for a one-step generator',
    },
  );
}

/** True for the transformer of Meissonic: other models of that class name have no code book. */
async function isMeissonicTransformer(source: WeightSource): Promise<boolean> {
  const { config } = await readPartConfig(source, 'transformer');
  return config['_class_name'] === transformerClass && 'codebook_size' in config && 'num_single_layers' in config;
}

/**
 * The files of a release that are read: the weights of each part in one variant, configurations and the tokenizer.
 *
 * @param names - all files of the source.
 */
export function releaseFiles(names: readonly string[], parts: readonly WeightedPart[]): string[] {
  const wanted = new Set<string>();
  const isGenerator = parts.length === 1;
  for (const name of names)
    if (!isGenerator && (name.startsWith(`${releaseLayout.tokenizer}/`) || name === releaseLayout.scheduler))
      wanted.add(name);
  for (const part of parts) {
    wanted.add(`${releaseLayout[part].folder}/config.json`);
    for (const name of modelWeightFiles(names, releaseLayout[part])) wanted.add(name);
  }
  return names.filter((name) => wanted.has(name));
}
