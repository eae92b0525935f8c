/** The table of results, like the one of the paper, for terminals and Markdown. */
import { escapeText } from '@dimo/core';
import type { EvaluationRow } from './evaluate.js';

/** One column of the table. */
export interface TableColumn {
  readonly title: string;
  /** Larger is better, smaller is better, or neither. */
  readonly better?: 'larger' | 'smaller';
  /** The cell's text; a dash where the row has no such number. */
  readonly text: (row: EvaluationRow) => string;
  readonly isText?: boolean;
  /** Left out of a table none of whose rows has such a number. */
  readonly isRare?: boolean;
}

/** All columns, in order. */
const tableColumns: readonly TableColumn[] = [
  { title: 'method', text: ({ method }) => escapeText(method, 200), isText: true },
  { title: 'steps', text: ({ steps }) => fixed(steps, 0) },
  { title: 'FID', better: 'smaller', text: ({ fid }) => fixed(fid, (fid ?? 0) >= 100 ? 1 : 2) },
  { title: 'sFID', better: 'smaller', text: ({ sFid }) => fixed(sFid, 2), isRare: true },
  { title: 'CMMD', better: 'smaller', text: ({ cmmd }) => fixed(cmmd, 3), isRare: true },
  { title: 'CLIP score', better: 'larger', text: (row) => fixed(row.clipScore, 2), isRare: true },
  { title: 'IS', better: 'larger', text: (row) => fixed(row.inceptionScore, 2) },
  { title: 'precision', better: 'larger', text: ({ precision }) => fixed(precision, 3) },
  { title: 'recall', better: 'larger', text: ({ recall }) => fixed(recall, 3) },
  { title: 'density', better: 'larger', text: ({ density }) => fixed(density, 3) },
  { title: 'coverage', better: 'larger', text: ({ coverage }) => fixed(coverage, 3) },
  { title: 'images/s', better: 'larger', text: ({ imagesPerSecond: rate }) => fixed(rate, (rate ?? 0) >= 100 ? 0 : 1) },
  { title: 'class consistency', better: 'larger', text: (row) => fixed(row.classConsistency, 3) },
  { title: 'intra-class variance', better: 'larger', text: (row) => fixed(row.intraClassVariance, 1) },
];

/** The columns of a table of these rows. */
export function columnsOf(rows: readonly EvaluationRow[]): readonly TableColumn[] {
  return tableColumns.filter(({ isRare, text }) => !isRare || rows.some((row) => text(row) !== absent));
}

const absent = '–';

function fixed(value: number | undefined, digits: number): string {
  if (value === undefined) return absent;
  return Number.isFinite(value) ? value.toFixed(digits) : String(value);
}

/**
 * The table as text.
 *
 * @param format - `text`: columns aligned by spaces; `markdown`: a table that is aligned in its source too.
 */
export function formatTable(rows: readonly EvaluationRow[], format: 'text' | 'markdown' = 'text'): string {
  const isMarkdown = format === 'markdown';
  const columns = columnsOf(rows);
  const cell = (text: string) => (isMarkdown ? text.replaceAll('|', '\\|') : text);
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ text }) => cell(text(row))))];
  const widths = columns.map((_, c) => Math.max(...cells.map((line) => line[c]!.length)));
  const lines = cells.map((line) =>
    line.map((text, c) => (columns[c]!.isText ? text.padEnd(widths[c]!) : text.padStart(widths[c]!))),
  );
  if (!isMarkdown) return lines.map((line) => line.join('  ').trimEnd()).join('\n');
  const rule = widths.map((width, c) => (columns[c]!.isText ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [lines[0]!, rule, ...lines.slice(1)].map((line) => `| ${line.join(' | ')} |`).join('\n');
}
