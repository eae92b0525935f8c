/** One picture from the bytes of its file to pixels, within limits; whatever is wrong with it is said in words. */
import { DimoError, escapeText } from '@dimo/core';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ResolvedPictureOptions } from './options.js';

type Sharp = typeof import('sharp').default;

/** The size of a picture as people see it, turned as its file says. */
export interface PictureFacts {
  readonly format: string;
  readonly width: number;
  readonly height: number;
  readonly isGray: boolean;
}

/** Thrown by `decodePicture`; the message says what is wrong with the picture, without its name. */
export class BadPicture extends Error {}

let loaded: Promise<Sharp> | undefined;

/**
 * The library that decodes pictures: that of this package or, since it is optional, of the project in the working directory.
 *
 * @throws DimoError with code `io` if it is not installed.
 */
export function loadSharp(): Promise<Sharp> {
  loaded ??= importSharp().catch((cause: unknown) => {
    loaded = undefined;
    throw new DimoError('io', 'pictures are read by the npm package sharp, which is not installed or does not load', {
      hint: 'run: npm install sharp',
      cause,
    });
  });
  return loaded;
}

async function importSharp(): Promise<Sharp> {
  try {
    return (await import('sharp')).default;
  } catch {
    const project = createRequire(pathToFileURL(join(process.cwd(), 'package.json')).href);
    return project('sharp') as Sharp;
  }
}

type Limits = Pick<ResolvedPictureOptions, 'maximumPixels' | 'secondsPerPicture'>;

/**
 * What the head of a file says.
 *
 * @throws BadPicture if it is none of the formats that are read, cannot be read, or has too many pixels.
 */
export async function pictureFacts(sharp: Sharp, bytes: Uint8Array, { maximumPixels }: Limits): Promise<PictureFacts> {
  const format = formatOf(bytes);
  if (format === undefined)
    throw new BadPicture(
      bytes.length === 0 ? 'the file is empty' : `no PNG, JPEG, WebP or GIF: the file begins with ${beginning(bytes)}`,
    );
  const { width, height, autoOrient, channels } = await reading(() =>
    sharp(bytes, { limitInputPixels: false }).metadata(),
  );
  if (!(width * height <= maximumPixels))
    throw new BadPicture(`${width} x ${height} pixels are more than the ${maximumPixels} of pictures.maximumPixels`);
  return { format, width: autoOrient.width, height: autoOrient.height, isGray: channels < 3 };
}

/** What every picture is brought to. */
export interface TargetImage extends Pick<ResolvedPictureOptions, 'fit' | 'background'> {
  readonly height: number;
  readonly width: number;
  readonly channels: 1 | 3;
}

const fits = { 'center-crop': 'cover', squash: 'fill', pad: 'contain' } as const;

/**
 * Pixels of a picture, uint8 [height, width, channels] in sRGB: turned as its file says, the first frame of several, on the
 * background where it is transparent.
 *
 * @throws BadPicture if the file is damaged or cut, or takes too long.
 */
export async function decodePicture(
  sharp: Sharp,
  bytes: Uint8Array,
  target: TargetImage & Limits,
): Promise<Uint8Array> {
  const { height, width, channels, fit, background, maximumPixels, secondsPerPicture } = target;
  return reading(async () => {
    const image = sharp(bytes, { limitInputPixels: maximumPixels, failOn: 'warning' })
      .timeout({ seconds: secondsPerPicture })
      .autoOrient()
      .resize(width, height, { fit: fits[fit], position: 'centre', background })
      .flatten({ background })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb');
    const { data, info } = await image.raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true });
    if (info.channels === channels && data.length === height * width * channels) return data;
    throw new BadPicture(`decoded to ${info.width} x ${info.height} with ${info.channels} channels`);
  });
}

/**
 * Pixels of a picture at its own size, uint8 [height, width, 3] in sRGB: turned as its file says, the first frame of several,
 * opacity left out.
 *
 * @throws BadPicture if the file is damaged or cut, or takes too long.
 */
export async function decodeWhole(
  sharp: Sharp,
  bytes: Uint8Array,
  { maximumPixels, secondsPerPicture }: Limits,
): Promise<{ readonly height: number; readonly width: number; readonly data: Uint8Array }> {
  return reading(async () => {
    const { data, info } = await sharp(bytes, { limitInputPixels: maximumPixels, failOn: 'warning' })
      .timeout({ seconds: secondsPerPicture })
      .autoOrient()
      .removeAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { width, height, channels } = info;
    if (channels === 3) return { height, width, data };
    throw new BadPicture(`decoded to ${width} x ${height} with ${channels} channels`);
  });
}

async function reading<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BadPicture) throw error;
    const message = error instanceof Error ? error.message : String(error);
    throw new BadPicture(`cannot be decoded: ${escapeText(message.split('\n')[0]!.trim(), 160)}`, { cause: error });
  }
}

const signatures: readonly (readonly [format: string, at: number, text: string])[] = [
  ['png', 0, '\x89PNG\r\n\x1a\n'],
  ['jpeg', 0, '\xff\xd8\xff'],
  ['gif', 0, 'GIF8'],
  ['webp', 8, 'WEBP'],
];

/** By its first bytes: an ending says nothing about what a decoder would be given. */
function formatOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  return signatures.find(([, at, text]) => head.startsWith(text, at))?.[0];
}

function beginning(bytes: Uint8Array): string {
  return escapeText(JSON.stringify(Buffer.from(bytes.subarray(0, 8)).toString('latin1')), 60);
}
