/** Samples of a model as pictures: drawn a few at a time, the same ones whenever they are drawn. */
import { sha256OfContent } from '@dimo/backend-node';
import {
  DimoError,
  OptionError,
  sha256Hex,
  streamSafetensors,
  type ConditionSource,
  type HostTensor,
  type HostTree,
  type TeacherDefinition,
} from '@dimo/core';
import { conditionsFor } from '@dimo/pipeline';
import type { EvaluationMethod } from '../evaluation/methods.js';
import type { PictureSource } from './pictures.js';

/** What is sampled. */
export interface SampledPictures {
  readonly method: EvaluationMethod;
  readonly conditions: ConditionSource;
  readonly count: number;
  readonly seed: number;
  /** Prompts in turn; empty for the classes in turn, or what the teacher draws. */
  readonly prompts: readonly string[];
  /** Samples computed at once. */
  readonly batchSize: number;
  /** JSON of the model and of all settings that the samples follow from. */
  readonly identity: unknown;
}

/** A source that also knows how fast it was. */
export interface SampledSource extends PictureSource {
  /** Samples a second, without the feature network; undefined if none were drawn. */
  rate(): number | undefined;
  /** Passes per sample. */
  steps(): number | undefined;
}

/** Opens the sampler of a method. @throws OptionError if its product is no images */
export async function openSampled(asked: SampledPictures): Promise<SampledSource> {
  const { method, conditions, count, seed, prompts, batchSize, identity } = asked;
  const sampler = await method.open();
  const { images } = sampler;
  if (!images) {
    await sampler.dispose();
    throw new OptionError(`${method.name}: makes no images, and features are of images`);
  }
  let drawn = 0;
  let seconds = 0;
  return {
    name: method.name,
    count,
    identity: [identity, method.name, method.steps, seed, prompts],
    rate: () => (drawn > batchSize ? drawn / seconds : undefined),
    steps: () => sampler.meanPasses?.() || method.steps,
    async *pictures(first, size) {
      // Two batches are computed side by side.
      const atOnce = 2 * batchSize;
      for (let at = first; at < count; at += atOnce) {
        const number = Math.min(atOnce, count - at);
        const started = performance.now();
        const { condition } = await conditionsFor(conditions, number, { prompts, seed: 0, firstIndex: at });
        const pixels = toBytes(await images(await sampler.tokens(condition, seed, at)));
        seconds += (performance.now() - started) / 1000;
        drawn += number;
        const [, height, width, channels] = pixels.shape as [number, number, number, number];
        const length = height * width * channels;
        for (let i = 0; i < number; i += size) {
          const some = Math.min(size, number - i);
          yield [{ count: some, height, width, channels, data: pixels.data.subarray(i * length, (i + some) * length) }];
        }
      }
    },
    dispose: () => sampler.dispose(),
  };
}

/** As images are kept in files. @throws DimoError with code `non-finite` */
function toBytes({ shape, data }: HostTensor<'float32'>): { shape: readonly number[]; data: Uint8Array } {
  const bytes = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) {
    if (!Number.isFinite(data[i])) throw new DimoError('non-finite', `an image of the model holds ${data[i]}`);
    bytes[i] = Math.round(255 * Math.min(1, Math.max(0, data[i]!)));
  }
  return { shape, data: bytes };
}

/** What a model is made of, as JSON: its configuration, and hashes of its weights and of what its conditions read. */
export async function identityOfModel(
  { weights, decoderWeights = {} }: { readonly weights: HostTree; readonly decoderWeights?: HostTree },
  { config, conditionFiles }: Pick<TeacherDefinition, 'config' | 'conditionFiles'>,
): Promise<unknown> {
  const hashes = [weights, decoderWeights].map((tree) => sha256OfContent(streamSafetensors(tree)));
  const files = Object.entries(conditionFiles?.() ?? {}).map(async ([name, bytes]) => [name, await sha256Hex(bytes)]);
  return [config, await Promise.all(hashes), await Promise.all(files)];
}
