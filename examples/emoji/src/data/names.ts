/** Emoji of the package with their names in plain words. */
import { DimoError } from '@dimo/core';
import { plainWords } from '@dimo/teacher-words';

/** An emoji of the list, without pictures. */
export interface Emoji {
  /** Plain lower-case words, without skin tone: `waving hand`. */
  readonly name: string;
  /** Another name, if there is one: `wave`. */
  readonly alias: string | undefined;
  readonly category: string;
  /** Lower-case words: `animal mammal`. */
  readonly kind: string;
  /** File of the picture. */
  readonly file: string;
  /** Pictures in other skin tones. */
  readonly tones: readonly { readonly tone: string; readonly file: string }[];
}

/** Skin tones by their code points. */
const toneNames: Readonly<Record<string, string>> = {
  '1F3FB': 'light skin',
  '1F3FC': 'medium light skin',
  '1F3FD': 'medium skin',
  '1F3FE': 'medium dark skin',
  '1F3FF': 'dark skin',
};

/** Words of Unicode names that say nothing about the picture. */
const emptyWords = new Set([
  'sign',
  'symbol',
  'large',
  'heavy',
  'emoji',
  'negative',
  'squared',
  'circled',
  'ideograph',
]);

/**
 * The emoji of the package's `emoji.json`; skin tone swatches are left out.
 *
 * @throws DimoError with code `io` if it is not such a list.
 */
export function readNames(text: string, path: string): Emoji[] {
  let rows: unknown;
  try {
    rows = JSON.parse(text);
  } catch (cause) {
    throw new DimoError('io', 'emoji: the list is not JSON', { path, cause });
  }
  if (!Array.isArray(rows)) throw new DimoError('io', 'emoji: expected a list of emoji', { path });
  return rows.flatMap((value: unknown, index) => {
    const row = (value ?? {}) as Record<string, unknown>;
    const field = (name: string): string => {
      if (typeof row[name] !== 'string')
        throw new DimoError('io', `emoji: entry ${index} has no text "${name}"`, { path });
      return row[name];
    };
    const category = field('category');
    if (category === 'Component' || row['has_img_google'] === false) return [];
    const name = betterNames[field('name')] ?? plainName(field('name'));
    const alias = plainWords(field('short_name').replace(/\d+/g, ' ')).join(' ');
    return {
      name,
      alias: alias === '' || alias === name ? undefined : alias,
      category: category === 'Smileys & Emotion' ? 'Smileys' : category,
      kind: plainWords(field('subcategory')).join(' '),
      file: field('image'),
      tones: tonesOf(row['skin_variations']),
    };
  });
}

const betterNames: Readonly<Record<string, string>> = {
  'HEAVY BLACK HEART': 'red heart',
  'LARGE RED CIRCLE': 'red circle',
};

function tonesOf(variations: unknown): Emoji['tones'] {
  if (typeof variations !== 'object' || variations === null) return [];
  return Object.entries(variations as Record<string, { image?: unknown } | null>).flatMap(([code, variation]) => {
    const tone = toneNames[code];
    return tone !== undefined && typeof variation?.image === 'string' ? [{ tone, file: variation.image }] : [];
  });
}

function plainName(name: string): string {
  const flag = / flag$/i.test(name);
  const words = plainWords(name).filter((word) => !(flag && word === 'flag'));
  const kept = words.filter((word) => !emptyWords.has(word));
  return [...(flag ? ['flag'] : []), ...(kept.length > 0 ? kept : words)].join(' ');
}
