/**
 * What a given image has to do with a picture: which of its tokens are known, and which pixels are kept. The known tokens of
 * a sample follow from its seed and index alone.
 */
import { int32, OptionError, randomStream, type HostTensor, type TokenDecoder, type TokenSpace } from '@dimo/core';
import type { SampleKey } from '../model/draws.js';
import { fitted, inChannels } from './fit.js';
import { checkImageInput, pixelsOf, type ImageInput, type ReadImageFile } from './pixels.js';

/** An image to begin with. */
export interface GivenImageOptions {
  /** Is encoded; tokens that are not drawn anew are known. */
  readonly image?: ImageInput | undefined;
  /** Of the size of the image; white where it is drawn anew. @default everywhere */
  readonly mask?: ImageInput | undefined;
  /** Part of the tokens, of those under the mask if there is one, that is drawn anew, in (0, 1]. @default 0.5; 1 with a mask */
  readonly strength?: number | undefined;
  /** Whether pixels outside of the mask are those of the image, not those of its tokens. @default true */
  readonly composite?: boolean | undefined;
}

/** Options that were checked. */
export interface GivenImageRequest {
  readonly image: ImageInput;
  readonly mask: ImageInput | undefined;
  readonly strength: number;
  readonly composite: boolean;
}

/** An image in the size of a model. */
export interface GivenImage {
  /** float32 [H, W, C] in [0, 1]. */
  readonly image: HostTensor<'float32'>;
  /** [H * W], 1 where it is drawn anew; undefined without a mask. */
  readonly drawn: Uint8Array | undefined;
  readonly strength: number;
  readonly composite: boolean;
}

/** Names of the options, as a caller knows them. */
export interface GivenImageNames {
  readonly image: string;
  readonly mask: string;
  readonly strength: string;
  readonly composite: string;
}

/** Checks options before anything is read; undefined without an image. @throws OptionError */
export function checkGivenImage(
  { image, mask, strength, composite }: GivenImageOptions,
  names: GivenImageNames,
): GivenImageRequest | undefined {
  if (image === undefined) {
    const alone = mask !== undefined ? 'mask' : strength !== undefined ? 'strength' : 'composite';
    if (mask === undefined && strength === undefined && composite === undefined) return undefined;
    throw new OptionError(`${names[alone]} has no effect without an image (${names.image})`);
  }
  checkImageInput(image, names.image);
  if (mask !== undefined) checkImageInput(mask, names.mask);
  if (strength !== undefined && !(typeof strength === 'number' && strength > 0 && strength <= 1))
    throw new OptionError(`${names.strength} must be a number in (0, 1], got ${String(strength)}`);
  if (composite !== undefined && typeof composite !== 'boolean')
    throw new OptionError(`${names.composite} must be true or false, got ${String(composite)}`);
  if (composite !== undefined && mask === undefined)
    throw new OptionError(`${names.composite} has no effect without a mask (${names.mask})`);
  return {
    image,
    mask,
    strength: strength ?? (mask === undefined ? 0.5 : 1),
    composite: composite ?? mask !== undefined,
  };
}

/** @throws OptionError if the decoder cannot encode */
export function requireEncoder(decoder: TokenDecoder, model: string, names: GivenImageNames): void {
  if (decoder.encode) return;
  throw new OptionError(
    `${names.image}: "${model}" cannot begin with an image: its decoder "${decoder.name}" has no encoder`,
    { hint: 'leave the image out, or use a model whose tokenizer encodes images' },
  );
}

/**
 * Reads an image and its mask, and brings both to the size of a model.
 *
 * @throws OptionError for a file that is no PNG, a mask of another size than the image, or one without any white.
 */
export async function readGivenImage(
  { image, mask, ...request }: GivenImageRequest,
  { imageShape }: Pick<TokenDecoder, 'imageShape'>,
  { names, readFile }: { readonly names: GivenImageNames; readonly readFile: ReadImageFile },
): Promise<GivenImage> {
  const [height, width, channels] = imageShape;
  const [pixels, marks] = await Promise.all([
    pixelsOf(image, names.image, readFile),
    mask === undefined ? undefined : pixelsOf(mask, names.mask, readFile),
  ]);
  return {
    ...request,
    image: fitted(inChannels(pixels, channels), [height, width]),
    drawn: marks && drawnPixels(marks, { pixels, size: [height, width], names }),
  };
}

/** Pixels of the model that hold any part of a pixel that the mask marks: above half; transparent ones are black. */
function drawnPixels(
  mask: HostTensor<'float32'>,
  to: {
    readonly pixels: HostTensor<'float32'>;
    readonly size: readonly [height: number, width: number];
    readonly names: GivenImageNames;
  },
): Uint8Array {
  const sizeOf = ({ shape }: HostTensor): string => `${shape[1]} x ${shape[0]}`;
  if (sizeOf(mask) !== sizeOf(to.pixels))
    throw new OptionError(
      `${to.names.mask}: the mask has ${sizeOf(mask)} pixels, the image ${sizeOf(to.pixels)}; they must have the same size`,
    );
  const gray = inChannels(mask, 1, 0);
  const marked = fitted({ ...gray, data: gray.data.map((value) => (value > 0.5 ? 1 : 0)) }, to.size);
  const drawn = Uint8Array.from(marked.data, (value) => (value > 0 ? 1 : 0));
  if (!drawn.includes(1))
    throw new OptionError(`${to.names.mask}: the mask is black everywhere, so nothing would be drawn`, {
      hint: 'white marks what is drawn anew; a picture of other proportions is cut at its longer ends',
    });
  return drawn;
}

/**
 * Tokens that are known of each sample, int32 [samples, L], and the mask id where one is drawn. Any pixel that is drawn
 * anew makes its token one of those.
 *
 * @param tokens - those of the image, int32 [1, L].
 */
export function knownTokensOf(
  { drawn, strength, image }: GivenImage,
  tokens: HostTensor<'int32'>,
  samples: readonly SampleKey[],
  { grid, maskTokenId }: TokenSpace,
): HostTensor<'int32'> {
  const [rows, columns] = grid;
  const length = rows * columns;
  const [height, width] = image.shape as [number, number, number];
  const isCandidate = new Uint8Array(length).fill(drawn ? 0 : 1);
  drawn?.forEach((isDrawn, i) => {
    const [y, x] = [Math.floor(i / width), i % width];
    if (isDrawn) isCandidate[Math.floor((y * rows) / height) * columns + Math.floor((x * columns) / width)] = 1;
  });
  const candidates = Array.from(isCandidate.keys()).filter((i) => isCandidate[i]);
  const count = Math.max(1, Math.round(candidates.length * strength));
  const known = new Int32Array(samples.length * length);
  samples.forEach(({ seed, index }, sample) => {
    known.set(tokens.data, sample * length);
    const order = randomStream(seed, index, 'given-image').uniform(length);
    const wanted = [...candidates].sort((i, j) => order[i]! - order[j]! || i - j).slice(0, count);
    for (const i of wanted) known[sample * length + i] = maskTokenId;
  });
  return int32([samples.length, length], known);
}

/**
 * Pictures with the pixels of the given image where they are kept.
 *
 * @param pictures - float32 [H, W, C], or several of them with a leading axis.
 */
export function withKeptPixels(
  { drawn, composite, image }: GivenImage,
  pictures: HostTensor<'float32'>,
): HostTensor<'float32'> {
  if (!composite || !drawn) return pictures;
  const channels = image.shape[2]!;
  return {
    ...pictures,
    data: pictures.data.map((value, i) => {
      const at = i % image.data.length;
      return drawn[Math.floor(at / channels)] ? value : image.data[at]!;
    }),
  };
}
