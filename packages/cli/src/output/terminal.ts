/**
 * Everything that reaches the terminal goes through here: lines are cleaned of control bytes (labels, paths and tensor
 * names come from strangers), colours follow NO_COLOR and the terminal, and a closed pipe ends nobody's training.
 */
import pc from 'picocolors';

/** Colour functions of the process; without colour they return their argument. */
export function colors(): ReturnType<typeof pc.createColors> {
  return pc.createColors(usesColor(process.stderr));
}

/** True if colour sequences may be written to the stream. */
export function usesColor(stream: NodeJS.WriteStream): boolean {
  if (process.env['NO_COLOR']) return false;
  if (process.env['FORCE_COLOR']) return process.env['FORCE_COLOR'] !== '0';
  return stream.isTTY === true && process.env['TERM'] !== 'dumb';
}

/** True if the stream is a terminal whose cursor can be moved. */
export function hasCursor(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && process.env['TERM'] !== 'dumb';
}

/** Columns of a stream: those of its terminal, else of `COLUMNS`, else 80. */
export function widthOf(stream: NodeJS.WriteStream): number {
  if (stream.isTTY && stream.columns > 0) return stream.columns;
  const given = Number(process.env['COLUMNS']);
  return Number.isInteger(given) && given >= 20 && given <= 1000 ? given : 80;
}

/**
 * Characters that move the cursor, change the terminal's state, reorder or hide text: C0 and C1 controls but the line
 * feed, Unicode line separators, bidirectional controls, zero-width characters, lone surrogates, tag characters.
 * The same set as core's `escapeText`, kept here so that `dimo --help` need not load core; a test compares the two.
 */
const unsafeCharacters =
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

const colorSequence = /(\u001b\[[0-9]{1,2}m)/;

/**
 * The text with unsafe characters as visible escapes (`\x1b`, `\u202e`); line feeds stay.
 *
 * @param keepColor - leaves plain colour sequences (which cannot do harm) as they are.
 */
export function cleanText(text: string, keepColor = false): string {
  if (!keepColor) return text.replace(unsafeCharacters, escapeCharacter);
  return text
    .split(colorSequence)
    .map((part, i) => (i % 2 === 1 ? part : part.replace(unsafeCharacters, escapeCharacter)))
    .join('');
}

function escapeCharacter(character: string): string {
  if (character === '\r') return '\\r';
  if (character === '\t') return '\\t';
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}

/** Writes lines to standard output: results, tables, JSON. */
export function print(text: string): void {
  process.stdout.write(`${cleanText(text, usesColor(process.stdout))}\n`);
}

/**
 * Writes a value to standard output as one JSON document. What `print` would make visible is escaped as JSON has it, and
 * numbers that JSON has not (NaN, infinity) are text, as in `metrics.jsonl`.
 */
export function printJson(value: unknown, indent?: number): void {
  const finite = (_key: string, item: unknown): unknown =>
    typeof item === 'number' && !Number.isFinite(item) ? String(item) : item;
  const text = JSON.stringify(value, finite, indent).replace(unsafeCharacters, (character) =>
    [...Array(character.length).keys()]
      .map((i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`)
      .join(''),
  );
  process.stdout.write(`${text}\n`);
}

/** Writes lines to standard error: progress, notices, failures. */
export function printError(text: string): void {
  process.stderr.write(`${cleanText(text, usesColor(process.stderr))}\n`);
}

let guarded = false;

/** A reader that went away (`dimo info | head -1`) is not a failure, and must not stop a training. */
export function ignoreClosedPipes(): void {
  if (guarded) return;
  guarded = true;
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error;
    });
}
