/** Fenced blocks of the READMEs and documents. */
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const skipped = new Set(['node_modules', 'dist', 'fixtures', '.git', '.nx', 'runs', 'coverage', 'generated']);

/** Markdown files of the repository that are written by hand. */
export function* markdownFiles(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue;
    const location = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* markdownFiles(location);
    else if (entry.name.endsWith('.md')) yield location;
  }
}

/** A block and where it stands. */
export interface FencedBlock {
  /** `docs/x.md:12`. */
  readonly place: string;
  /** Of the fence. */
  readonly line: number;
  readonly code: string;
}

/**
 * The blocks of a document whose language matches.
 *
 * @throws where a block has no end.
 */
export function fencedBlocks(document: string, language: RegExp): FencedBlock[] {
  const lines = readFileSync(document, 'utf8').split('\n');
  const blocks: FencedBlock[] = [];
  for (let start = 0; start < lines.length; start++) {
    const fence = /^(\s*)(`{3,})(\w+)\b/.exec(lines[start]!);
    if (!fence) continue;
    const end = lines.findIndex((line, i) => i > start && line.trim() === fence[2]);
    if (end < 0) throw new Error(`${document}:${start + 1}: the code block has no end`);
    const place = `${path.relative(root, document)}:${start + 1}`;
    if (language.test(fence[3]!)) blocks.push({ place, line: start + 1, code: lines.slice(start + 1, end).join('\n') });
    start = end;
  }
  return blocks;
}
