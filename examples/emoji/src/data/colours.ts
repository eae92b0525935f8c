/** Colours by name: which one a picture has, and the same picture in another one. */

/** Hues by name, degrees. */
export const hues = {
  red: 2,
  orange: 28,
  yellow: 48,
  green: 110,
  blue: 210,
  purple: 275,
  pink: 330,
} as const;

/** Name of a hue. */
export type Colour = keyof typeof hues;

/** Names of the hues. */
export const colours = Object.keys(hues) as readonly Colour[];

/** Least saturation of a pixel that has a hue, [0, 1]. */
const leastSaturation = 0.3;
/** A pixel belongs to a hue within so many degrees. */
const nearHue = 28;

/** What a picture's colour is. */
export interface DominantColour {
  readonly colour: Colour;
  /** Degrees. */
  readonly hue: number;
  /** Part of the saturated pixels near that hue, [0, 1]. */
  readonly purity: number;
  /** Part of the pixels that are not white that are saturated, [0, 1]. */
  readonly coverage: number;
}

/**
 * The hue around which most of the saturated pixels are.
 *
 * @param image - uint8 [side, side, 3].
 * @returns undefined if no pixel is saturated.
 */
export function dominantColour(image: Uint8Array): DominantColour | undefined {
  const histogram = new Float64Array(360);
  let visible = 0;
  let saturated = 0;
  for (let i = 0; i < image.length; i += 3) {
    const { hue, saturation, lightness } = toHsl(image[i]!, image[i + 1]!, image[i + 2]!);
    if (lightness > 0.97) continue;
    visible++;
    if (saturation < leastSaturation || lightness < 0.12) continue;
    saturated++;
    histogram[Math.floor(hue) % 360]!++;
  }
  if (saturated === 0) return undefined;
  let best = 0;
  let most = -1;
  for (let center = 0; center < 360; center++) {
    let sum = 0;
    for (let d = -nearHue; d <= nearHue; d++) sum += histogram[(center + d + 360) % 360]!;
    if (sum > most) [best, most] = [center, sum];
  }
  // The mean inside the window, so that the hue does not stick to its edge.
  let shift = 0;
  for (let d = -nearHue; d <= nearHue; d++) shift += d * histogram[(best + d + 360) % 360]!;
  const hue = (best + shift / most + 360) % 360;
  const colour = colours.reduce((a, b) => (hueDistance(hues[a], hue) <= hueDistance(hues[b], hue) ? a : b));
  return { colour, hue, purity: most / saturated, coverage: saturated / visible };
}

/** The picture with every hue turned so that the dominant one becomes another; lightness and saturation stay. */
export function recoloured(image: Uint8Array, from: number, to: Colour): Uint8Array {
  const result = new Uint8Array(image.length);
  for (let i = 0; i < image.length; i += 3) {
    const { hue, saturation, lightness } = toHsl(image[i]!, image[i + 1]!, image[i + 2]!);
    result.set(toRgb((hue + hues[to] - from + 720) % 360, saturation, lightness), i);
  }
  return result;
}

function hueDistance(a: number, b: number): number {
  const d = Math.abs(a - b) % 360;
  return Math.min(d, 360 - d);
}

function toHsl(red: number, green: number, blue: number) {
  const [r, g, b] = [red / 255, green / 255, blue / 255];
  const high = Math.max(r, g, b);
  const low = Math.min(r, g, b);
  const chroma = high - low;
  const lightness = (high + low) / 2;
  if (chroma === 0) return { hue: 0, saturation: 0, lightness };
  const saturation = chroma / (1 - Math.abs(2 * lightness - 1));
  const sector = high === r ? ((g - b) / chroma + 6) % 6 : high === g ? (b - r) / chroma + 2 : (r - g) / chroma + 4;
  return { hue: 60 * sector, saturation, lightness };
}

function toRgb(hue: number, saturation: number, lightness: number): number[] {
  const amplitude = saturation * Math.min(lightness, 1 - lightness);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - amplitude * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}
