/** What somebody probably meant: the nearest of the names that there are. */
import { escapeText } from '@dimo/core';
import { distance } from 'fastest-levenshtein';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Longer names are not compared: nobody types them. */
const longestName = 100;
/** Names beyond this many are not compared. */
const mostNames = 2000;

/**
 * The candidate whose name differs by a few letters, or undefined if none does.
 *
 * @param key - what was typed.
 */
export function closest<T>(key: string, candidates: readonly T[], nameOf: (candidate: T) => string): T | undefined {
  if (key.length > longestName) return undefined;
  const ranked = candidates
    .slice(0, mostNames)
    .map((candidate) => ({ candidate, name: nameOf(candidate) }))
    .map(({ candidate, name }) => ({
      candidate,
      edits: distance(key.toLowerCase().replace(/[-_]/g, ''), name.toLowerCase()),
      // Exchanged letters cost two edits but leave the letters the same.
      otherLetters: distance(sortedLetters(key), sortedLetters(name)),
      allowed: Math.max(2, Math.floor(name.length / 3)),
    }))
    .filter(({ edits, allowed }) => edits <= allowed && edits < key.length)
    .sort((a, b) => a.edits - b.edits || a.otherLetters - b.otherLetters);
  return ranked[0]?.candidate;
}

function sortedLetters(text: string): string {
  return [...text.toLowerCase()].sort().join('');
}

/** `; did you mean "mnist"?`, or nothing where no name is near. */
export function didYouMean(name: string, candidates: Iterable<string>): string {
  const nearest = closest(name, [...candidates], (candidate) => candidate);
  return nearest === undefined || nearest === name ? '' : `; did you mean "${escapeText(nearest, longestName)}"?`;
}

/**
 * The same for a path: its first part that is not there is compared with what lies beside it.
 *
 * @param others - further names, such as those of bundled models.
 */
export function didYouMeanPath(path: string, others: Iterable<string> = []): string {
  const named = didYouMean(path, others);
  if (named !== '') return named;
  // Upwards until a folder is there.
  let rest = '';
  for (let missing = path; ; missing = dirname(missing)) {
    const parent = dirname(missing);
    const names = namesIn(parent);
    const last = missing.slice(parent === '.' && !missing.startsWith('.') ? 0 : parent.length).replace(/^[/\\]+/, '');
    if (names) {
      const nearest = closest(last, names, (name) => name);
      if (nearest === undefined || nearest === last) return '';
      return `; did you mean "${escapeText(join(parent, nearest, rest), 300)}"?`;
    }
    if (parent === missing) return '';
    rest = join(last, rest);
  }
}

function namesIn(folder: string): string[] | undefined {
  try {
    return readdirSync(folder);
  } catch {
    return undefined;
  }
}
