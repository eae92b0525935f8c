/** What a terminal shows after some output: enough of one for lines that are redrawn. */

/**
 * The lines of an endless screen, without the spaces that end them unless they are full. Knows line feed, carriage return, and erasing in a line; other sequences of the kind that
 * sets colours or modes are left out.
 *
 * @param columns - longer lines wrap.
 */
export function screen(output: string, columns: number): string[] {
  const lines: string[][] = [[]];
  let [row, column] = [0, 0];
  const tokens = output.match(/\u001b\[[0-9;?]*[A-Za-z]|\u001b.|[^]/gu) ?? [];
  for (const token of tokens) {
    const line = (lines[row] ??= []);
    if (token === '\n') row++;
    else if (token === '\r') column = 0;
    else if (token === '\u001b[K') line.length = Math.min(line.length, column);
    else if (token === '\u001b[2K') line.length = 0;
    else if (!token.startsWith('\u001b')) {
      if (column === columns) [row, column] = [row + 1, 0];
      const target = (lines[row] ??= []);
      while (target.length < column) target.push(' ');
      target[column++] = token;
    }
    // Output to a file or a fake stream: a line feed starts a line, as a terminal makes it.
    if (token === '\n') column = 0;
    lines[row] ??= [];
  }
  return lines.map((line) => (line.length === columns ? line.join('') : line.join('').trimEnd()));
}
