/** Text from files and people, made safe to print: tensor names, metadata, labels, prompts, paths. */

/**
 * C0 and C1 controls with delete, Unicode line separators, bidirectional controls, zero-width characters, byte order
 * mark, lone surrogates, tag characters.
 */
const unsafeCharacters =
  /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;

/**
 * The text with every character that could move a terminal's cursor, change its state, reorder or hide text written as
 * a visible escape: `\n`, `\x1b`, `\u202e`. Printable text of any script stays as it is.
 *
 * @param maxLength - longer results are cut to this many characters, with `...` after them.
 */
export function escapeText(text: string, maxLength = 512): string {
  const head = text.slice(0, maxLength);
  const escaped = head.replace(unsafeCharacters, escapeCharacter);
  return escaped.length > maxLength || text.length > maxLength ? `${escaped.slice(0, maxLength)}...` : escaped;
}

function escapeCharacter(character: string): string {
  if (character === '\n') return '\\n';
  if (character === '\r') return '\\r';
  if (character === '\t') return '\\t';
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}
