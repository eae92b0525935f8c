/** Images in the size and the channels of a model. */
import { float32, type HostTensor } from '@dimo/core';

/**
 * An image in another size: cut at both ends of the longer side, so that it has the proportions, and averaged over the area
 * of each new pixel. One that has the size is given back as it is.
 *
 * @param pixels - float32 [H, W, C].
 */
export function fitted(pixels: HostTensor<'float32'>, size: readonly [height: number, width: number]) {
  const [height, width, channels] = pixels.shape as [number, number, number];
  if (height === size[0] && width === size[1]) return pixels;
  const scale = Math.min(height / size[0], width / size[1]);
  const rows = areas(height, size[0], scale);
  const columns = areas(width, size[1], scale);
  const across = new Float64Array(height * size[1] * channels);
  for (let y = 0; y < height; y++)
    columns.forEach((area, x) => {
      for (const { at, share } of area)
        for (let c = 0; c < channels; c++)
          across[(y * size[1] + x) * channels + c]! += share * pixels.data[(y * width + at) * channels + c]!;
    });
  const rowLength = size[1] * channels;
  const result = new Float64Array(size[0] * rowLength);
  rows.forEach((area, y) => {
    for (const { at, share } of area)
      for (let i = 0; i < rowLength; i++) result[y * rowLength + i]! += share * across[at * rowLength + i]!;
  });
  return float32(
    [...size, channels],
    Float32Array.from(result, (value) => Math.min(1, Math.max(0, value))),
  );
}

/** What each of `count` new pixels covers of `length` old ones, as shares that sum to 1. */
function areas(length: number, count: number, scale: number): { at: number; share: number }[][] {
  const start = (length - count * scale) / 2;
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [start + i * scale, Math.min(length, start + (i + 1) * scale)];
    const area = [];
    for (let at = Math.floor(from); at < to; at++) {
      const share = (Math.min(to, at + 1) - Math.max(from, at)) / (to - from);
      if (share > 1e-9) area.push({ at: Math.min(at, length - 1), share });
    }
    return area;
  });
}

/**
 * An image in other channels: gray is the luma of ITU-R BT.601; opacity is laid over a background where the model has none.
 *
 * @param pixels - float32 [H, W, 1 to 4].
 * @param channels - 1, 3 or 4.
 * @param background - in [0, 1]. @default 1, white
 */
export function inChannels(pixels: HostTensor<'float32'>, channels: number, background = 1): HostTensor<'float32'> {
  const [height, width, given] = pixels.shape as [number, number, number];
  if (given === channels) return pixels;
  const result = new Float32Array(height * width * channels);
  const hasOpacity = given % 2 === 0;
  const isGray = given < 3;
  for (let i = 0; i < height * width; i++) {
    const from = i * given;
    const opacity = hasOpacity ? pixels.data[from + given - 1]! : 1;
    const over = (value: number): number => (channels === 4 ? value : value * opacity + background * (1 - opacity));
    const [red, green, blue] = [0, 1, 2].map((c) => over(pixels.data[from + (isGray ? 0 : c)]!)) as [
      number,
      number,
      number,
    ];
    const colours =
      channels === 1 ? [isGray ? red : 0.299 * red + 0.587 * green + 0.114 * blue] : [red, green, blue, opacity];
    result.set(colours.slice(0, channels), i * channels);
  }
  return float32([height, width, channels], result);
}
