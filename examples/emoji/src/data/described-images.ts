/** Which pictures there are, and which words describe them. */
import { randomStream } from '@dimo/core';
import { colours, dominantColour, hues, recoloured, type Colour } from './colours.js';
import type { Emoji } from './names.js';
import { mirrored } from './pictures.js';

/** A picture with its prompts. */
export interface DescribedImage {
  /** uint8 [32, 32, 3]. */
  readonly pixels: Uint8Array;
  readonly category: string;
  /** What it may be asked for as; the more often a text is there, the more often it is trained. */
  readonly texts: readonly string[];
}

/** Compositions that no training picture shows and no training prompt names, though each of their words is trained. */
export const heldOutCompositions = [
  'blue heart',
  'green circle',
  'purple square',
  'orange circle',
  'brown heart',
  'thumbs up dark skin',
  'waving hand medium dark skin',
  'baby light skin',
  'blue strawberry',
  'purple cat',
  'green automobile',
  'pink frog',
  'red banana',
  'blue rose',
] as const;

/** Kinds whose pictures are coloured anew. */
const colourable =
  /^(animal|food fruit|food vegetable|plant|clothing|transport ground|cat face|sport|musical|lock|household)/;
/** Kinds that are trained in all skin tones. */
const toned = /^(hand|body parts|person$)/;
/** Categories and kinds that a mirror would turn into something else. */
const oneSided = new Set(['Symbols', 'Flags', 'time']);
/** Other colours of each colourable emoji that are trained; the rest are compositions that were never seen. */
const coloursPerEmoji = 3;
/** One of so many emoji is for testing, with all its variants. */
const testEvery = 20;

/** Reads the picture of a file. */
export type PictureReader = (file: string) => Promise<Uint8Array>;

/** All pictures with their texts, by split. */
export async function describeImages(
  emoji: readonly Emoji[],
  read: PictureReader,
): Promise<{ train: DescribedImage[]; test: DescribedImage[] }> {
  const train: DescribedImage[] = [];
  const test: DescribedImage[] = [];
  const draws = randomStream(0, 0, 'emoji/test').integers(emoji.length, testEvery);
  for (const [index, one] of emoji.entries()) {
    const variants = [
      await plainVariant(one, read),
      ...(await toneVariants(one, read)),
      ...colourVariants(one, index, await read(one.file)),
    ];
    for (const variant of variants)
      if (draws[index] === 0 || isHeldOut(variant)) test.push(variant);
      else train.push(variant, ...mirrorOf(variant, one));
  }
  return { train, test };
}

/** True if one of the texts is a held-out composition. */
function isHeldOut({ texts }: Pick<DescribedImage, 'texts'>): boolean {
  return texts.some((text) => (heldOutCompositions as readonly string[]).includes(text));
}

async function plainVariant(emoji: Emoji, read: PictureReader): Promise<DescribedImage> {
  const { name, alias = name, category, kind } = emoji;
  const pixels = await read(emoji.file);
  const colour = colourOf(emoji, pixels);
  return {
    pixels,
    category,
    texts: [name, name, alias, kind, ...(colour && !hasColour(name) ? [`${colour.colour} ${name}`] : [])],
  };
}

async function toneVariants({ name, alias = name, category, kind, tones }: Emoji, read: PictureReader) {
  if (!toned.test(kind)) return [];
  return Promise.all(
    tones.map(async ({ tone, file }) => ({
      pixels: await read(file),
      category,
      texts: [`${name} ${tone}`, `${alias} ${tone}`],
    })),
  );
}

function colourVariants(emoji: Emoji, index: number, pixels: Uint8Array): DescribedImage[] {
  const { name, alias = name, category } = emoji;
  const found = colourOf(emoji, pixels);
  if (!found || hasColour(name)) return [];
  const others = colours.filter((colour) => colour !== found.colour);
  const heldOut = (colour: Colour) => isHeldOut({ texts: [`${colour} ${name}`, `${colour} ${alias}`] });
  const order = randomStream(0, index, 'emoji/colours').permutation(others.length);
  const drawn = Array.from(order, (i) => others[i]!);
  const trained = drawn.filter((colour) => !heldOut(colour)).slice(0, coloursPerEmoji);
  return [...trained, ...drawn.filter(heldOut)].map((colour) => ({
    pixels: recoloured(pixels, found.hue, colour),
    category,
    texts: [`${colour} ${name}`, `${colour} ${alias}`],
  }));
}

/** The colour of a picture that may be coloured anew. */
function colourOf({ kind }: Emoji, pixels: Uint8Array) {
  if (!colourable.test(kind)) return undefined;
  const found = dominantColour(pixels);
  return found && found.purity >= 0.65 && found.coverage >= 0.35 ? found : undefined;
}

function hasColour(name: string): boolean {
  return name.split(' ').some((word) => word in hues || word === 'black' || word === 'white' || word === 'brown');
}

function mirrorOf(variant: DescribedImage, { category, kind }: Emoji): DescribedImage[] {
  if (oneSided.has(category) || oneSided.has(kind)) return [];
  return [{ ...variant, pixels: mirrored(variant.pixels) }];
}
