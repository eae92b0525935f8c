/** PNG files as numbers, of every depth and colour type. */
import { float32, OptionError, type HostTensor } from '@dimo/core';
import { decode, hasPngSignature, type DecodedPng } from 'fast-png';
import { checkSize } from './image-size.js';

/** Bytes before the width in a PNG, and up to the end of its height. */
const [widthAt, sizeEnd] = [16, 24];

/**
 * Pixels float32 [height, width, C] in [0, 1], C from 1 to 4: gray, gray and opacity, RGB, RGB and opacity.
 *
 * @throws OptionError if it is no whole PNG, or too large.
 */
export function decodePixels(bytes: Uint8Array, name: string): HostTensor<'float32'> {
  if (bytes.length < sizeEnd || !hasPngSignature(bytes))
    throw new OptionError(`${name} is no PNG`, { hint: 'convert the image to PNG, for example with an image viewer' });
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  // Before memory is taken: few bytes can claim any size.
  checkSize(header.getUint32(widthAt), header.getUint32(widthAt + 4), name);
  try {
    return numbersOf(decode(bytes, { checkCrc: true }));
  } catch (cause) {
    throw new OptionError(`${name} is a damaged PNG: ${(cause as Error).message}`, { cause });
  }
}

function numbersOf({ width, height, depth, channels, data, palette }: DecodedPng): HostTensor<'float32'> {
  const samples = depth < 8 ? unpacked(data, width * channels, height, depth) : data;
  if (!palette) {
    const largest = 2 ** depth - 1;
    return float32(
      [height, width, channels],
      Float32Array.from(samples, (sample) => sample / largest),
    );
  }
  const pixels = new Float32Array(width * height * 4);
  for (let i = 0; i < width * height; i++) {
    const colour = palette[samples[i]!];
    if (!colour) throw new Error(`there is no colour ${samples[i]} in its palette`);
    const [red, green, blue, opacity = 255] = colour;
    pixels.set([red! / 255, green! / 255, blue! / 255, opacity / 255], i * 4);
  }
  return float32([height, width, 4], pixels);
}

/** Samples of less than a byte; each row begins with a byte of its own. */
function unpacked(data: ArrayLike<number>, perRow: number, height: number, depth: number): Uint8Array {
  const bytesPerRow = Math.ceil((perRow * depth) / 8);
  const samples = new Uint8Array(perRow * height);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < perRow; x++) {
      const byte = data[y * bytesPerRow + Math.floor((x * depth) / 8)]!;
      samples[y * perRow + x] = (byte >> (8 - depth - ((x * depth) % 8))) & (2 ** depth - 1);
    }
  return samples;
}
