/**
 * A one-step generator in one safetensors file, as a browser saves it: the model's weights under their own names, the
 * decoder's below `decoder/`, the description as metadata. Any reader of safetensors finds the weights in it.
 */
import { OptionError, WeightError } from '../errors.js';
import { generatorFileNames, type GeneratorContent } from './generator-files.js';
import { escapeText } from '../text/escape-text.js';
import { readSafetensors } from '../storage/safetensors.js';
import { writeSafetensors, type SafetensorsWriteOptions } from '../storage/safetensors-write.js';
import type { WeightSource } from '../storage/weight-source.js';
import { subtree, withPrefix, type HostTree } from '../tensors/tensors.js';

/** Metadata key of the description. */
const descriptionKey = 'dimo-generator';

/**
 * The file. `options.float` 'F16' halves it.
 *
 * @throws OptionError for a generator with condition files (a text encoder): it needs a folder, see `generatorFiles`.
 */
export function generatorBundle(
  { description, weights, decoderWeights = {}, conditionFiles = {} }: GeneratorContent,
  options: Pick<SafetensorsWriteOptions, 'float'> = {},
): Uint8Array<ArrayBuffer> {
  const others = Object.keys(conditionFiles);
  if (others.length > 0)
    throw new OptionError(`a generator with the files ${others.join(', ')} does not fit into one safetensors file`, {
      hint: 'write a folder',
    });
  return writeSafetensors(
    { ...weights, ...withPrefix('decoder', decoderWeights) },
    { metadata: { format: 'pt', [descriptionKey]: JSON.stringify(description) }, ...options },
  );
}

/**
 * The file as the folder that `readGenerator` reads.
 *
 * @param location - the file, for messages.
 * @throws WeightError if it is damaged or holds no generator.
 */
export function generatorBundleSource(bytes: Uint8Array, location: string): WeightSource {
  const { tensors, metadata } = readSafetensors(bytes, { path: location });
  const description = metadata[descriptionKey];
  if (description === undefined)
    throw new WeightError(`${escapeText(location)}: holds tensors, but no description of a generator`, {
      path: location,
      hint: 'name the folder of the generator, or a file that the page has saved',
    });
  const decoder = subtree('decoder', tensors);
  const model: HostTree = Object.fromEntries(Object.entries(tensors).filter(([name]) => !name.startsWith('decoder/')));
  const files: Record<string, () => Uint8Array> = {
    [generatorFileNames.description]: () => new TextEncoder().encode(description),
    [generatorFileNames.weights]: () => writeSafetensors(model),
    [generatorFileNames.decoder]: () => writeSafetensors(decoder),
  };
  return {
    location,
    list: () => Promise.resolve(Object.keys(files)),
    read(name) {
      const file = Object.hasOwn(files, name) ? files[name] : undefined;
      if (file) return Promise.resolve(file());
      return Promise.reject(
        new WeightError(`${escapeText(location)}: holds no ${escapeText(name)}`, { path: location }),
      );
    },
  };
}
