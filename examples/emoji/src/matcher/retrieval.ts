/** Retrieval accuracy: is the asked name the best match of the picture among 100 names? */
import {
  checkWeights,
  float32,
  int32,
  randomStream,
  readSafetensors,
  type Engine,
  type HostTensor,
  type HostTree,
} from '@dimo/core';
import type { Tensor2D, Tensor4D } from '@tensorflow/tfjs-core';
import { meaningfulWords, vocabularyOf, type Vocabulary } from '@dimo/teacher-words';
import { imageVectors, matcherParameters, matcherTextLength, matcherWidth, textVectors } from './network.js';

/** A trained matcher with the names that it knows. */
export interface Matcher {
  readonly vocabulary: Vocabulary;
  /** Names of training pictures, each once. */
  readonly names: readonly string[];
  readonly weights: HostTree;
}

/** A matcher from the bytes of its files. @throws WeightError if the weights do not fit the words. */
export function readMatcher(files: {
  readonly weights: Uint8Array;
  readonly words: string;
  readonly names: string;
}): Matcher {
  const vocabulary = vocabularyOf(JSON.parse(files.words) as string[]);
  const { tensors } = readSafetensors(files.weights);
  checkWeights(tensors, matcherParameters(vocabulary.words.length), { model: 'emoji matcher' });
  return { vocabulary, names: JSON.parse(files.names) as string[], weights: { ...tensors } };
}

/** Vectors of images and of texts, row-major [count, 96]. */
export async function matchVectors(
  engine: Engine,
  { vocabulary, weights }: Matcher,
  images: HostTensor<'float32'>,
  texts: readonly string[],
): Promise<{ readonly ofImages: Float32Array; readonly ofTexts: Float32Array }> {
  const batch = 64;
  const numWords = vocabulary.words.length;
  const state = await engine.upload(weights);
  const compiled = await engine.compile(
    (given, inputs) => ({
      outputs: {
        images: imageVectors(given, inputs['images'] as Tensor4D),
        texts: textVectors(given, inputs['words'] as Tensor2D),
      },
    }),
    {
      state: matcherParameters(numWords),
      inputs: {
        images: { dtype: 'float32', shape: [batch, ...images.shape.slice(1)] },
        words: { dtype: 'int32', shape: [batch, matcherTextLength] },
      },
    },
  );
  const count = images.shape[0]!;
  const size = images.data.length / count;
  const words = vocabulary.encode(texts, matcherTextLength);
  const ofImages = new Float32Array(count * matcherWidth);
  const ofTexts = new Float32Array(texts.length * matcherWidth);
  try {
    for (let first = 0; first < Math.max(count, texts.length); first += batch) {
      const pixels = new Float32Array(batch * size);
      pixels.set(images.data.subarray(first * size, (first + batch) * size));
      const ids = new Int32Array(batch * matcherTextLength);
      ids.set(words.data.subarray(first * matcherTextLength, (first + batch) * matcherTextLength));
      const result = await compiled.run(state, {
        images: float32([batch, ...images.shape.slice(1)], pixels),
        words: int32([batch, matcherTextLength], ids),
      });
      copy(result['images']!.data as Float32Array, ofImages, first * matcherWidth);
      copy(result['texts']!.data as Float32Array, ofTexts, first * matcherWidth);
    }
  } finally {
    await compiled.dispose();
    await state.dispose();
  }
  return { ofImages, ofTexts };
}

function copy(from: Float32Array, to: Float32Array, at: number): void {
  if (at < to.length) to.set(from.subarray(0, Math.min(from.length, to.length - at)), at);
}

/**
 * Part of the pictures whose own prompt matches better than 99 other names, drawn with a fixed seed, [0, 1]; 0.01 is
 * chance. Names of exactly the same words are not among the 99.
 *
 * @param prompts - one for each image.
 */
export async function retrievalAccuracy(
  engine: Engine,
  matcher: Matcher,
  images: HostTensor<'float32'>,
  prompts: readonly string[],
): Promise<number> {
  const { names } = matcher;
  const { ofImages, ofTexts } = await matchVectors(engine, matcher, images, [...prompts, ...names]);
  const key = (text: string) => meaningfulWords(text).sort().join(' ');
  const keys = names.map(key);
  let right = 0;
  prompts.forEach((prompt, i) => {
    const own = similarity(ofImages, i, ofTexts, i);
    const order = randomStream(0, i, 'emoji/retrieval').permutation(names.length);
    const others = Array.from(order).filter((name) => keys[name] !== key(prompt));
    if (others.slice(0, 99).every((name) => similarity(ofImages, i, ofTexts, prompts.length + name) < own)) right++;
  });
  return right / prompts.length;
}

function similarity(a: Float32Array, i: number, b: Float32Array, j: number): number {
  let sum = 0;
  for (let k = 0; k < matcherWidth; k++) sum += a[i * matcherWidth + k]! * b[j * matcherWidth + k]!;
  return sum;
}
