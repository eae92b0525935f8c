/** Recognizes the public layouts, for `dimo import`. */
import { sizeOf, type RecognizedWeights, type WeightSource } from '@dimo/core';
import { releaseFiles, releaseKind } from './layout.js';
import { defineReleasedTransformer } from './read-release.js';

/**
 * A release of Meissonic, or the transformer of a released one-step generator.
 *
 * @returns undefined for anything else; `config` is `{ layout }`, to be given to `load`.
 * @throws OptionError for a release that lacks parts, or a transformer of an unsupported variant.
 */
export async function recognizeRelease(source: WeightSource): Promise<RecognizedWeights | undefined> {
  const kind = await releaseKind(source);
  if (kind === undefined) return undefined;
  const { parameters } = await defineReleasedTransformer(source);
  const count = Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  const size = `transformer of ${formatCount(count)} parameters`;
  const files = await source.list();
  return kind === 'release'
    ? {
        kind: 'teacher',
        description: `Meissonic release, ${size}`,
        config: { layout: 'release' },
        files: releaseFiles(files, ['transformer', 'vqvae', 'textEncoder']),
      }
    : {
        kind: 'generator',
        description: `one-step generator of Meissonic, ${size}`,
        config: { layout: 'released-generator' },
        files: releaseFiles(files, ['transformer']),
      };
}

/** 1.01 B, 12.3 M, 96,000. */
function formatCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(2)} B`;
  return count >= 1e6 ? `${(count / 1e6).toFixed(1)} M` : count.toLocaleString('en-US');
}
