/** The report of a run: one HTML page that needs nothing else, neither files nor a network. */
import { OptionError } from '@dimo/core';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { EvaluationRow } from './evaluate.js';
import { htmlJson, htmlText } from './html-text.js';
import { liveScript, reportScript, reportStyle } from './report-style.js';
import { columnsOf, type TableColumn } from './table.js';

/** A picture in the report. */
export interface ReportGrid {
  /** `teacher, 16 steps`. */
  readonly title: string;
  /** Bytes of a PNG, from `imageGrid` of `@dimo/pipeline`. */
  readonly png: Uint8Array;
}

/** One line of a chart. */
export interface ReportSeries {
  readonly label: string;
  /** One number per x; null or NaN leaves a gap. */
  readonly values: readonly (number | null)[];
}

/** A chart of the report. */
export interface ReportCurve {
  readonly title: string;
  /** @default 'step' */
  readonly xLabel?: string;
  /** Ascending. */
  readonly x: readonly number[];
  readonly series: readonly ReportSeries[];
  /** Logarithmic y axis, for positive values. @default false */
  readonly isLogarithmic?: boolean;
}

/** Content of a report. Every text is escaped. */
export interface ReportContent {
  readonly title: string;
  /** One or two sentences under the title. */
  readonly summary?: string;
  readonly rows?: readonly EvaluationRow[];
  /** A second table, of other measures: the head and then the rows, as text. */
  readonly otherMeasures?: readonly (readonly string[])[];
  /** Notes under the table: what the numbers were computed with. */
  readonly notes?: readonly string[];
  readonly grids?: readonly ReportGrid[];
  readonly curves?: readonly ReportCurve[];
  /** The resolved configuration. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Facts about engine, device, versions. */
  readonly machine?: Readonly<Record<string, unknown>>;
  /** For a page that is served while the run goes on, and asks for itself again. */
  readonly live?: LiveReport;
}

/** How a page keeps up with a run. */
export interface LiveReport {
  /** A line on how the run goes. */
  readonly state: string;
  /** Changes where anything else on the page has changed. */
  readonly version: string;
  /** Seconds between two looks. */
  readonly seconds: number;
}

/**
 * The report as the text of an HTML file. The page's own policy forbids it to load anything.
 *
 * @throws OptionError if a series has not one value per x.
 */
export function renderReport(content: ReportContent): string {
  const {
    title,
    summary,
    rows = [],
    otherMeasures = [],
    notes = [],
    grids = [],
    curves = [],
    settings,
    machine,
    live,
  } = content;
  const sections = [
    results(rows, otherMeasures, notes),
    grids.length > 0 ? section('Samples', `<div class="grids">${grids.map(figure).join('\n')}</div>`) : '',
    curves.length > 0 ? section('Training', plots(curves)) : '',
    settings ? section('Settings', facts(settings)) : '',
    machine ? section('Machine', facts(machine)) : '',
  ];
  const hasCurves = curves.length > 0 || live !== undefined;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'${live ? "; connect-src 'self'" : ''}">
<title>${htmlText(title)}</title>
<style>${reportStyle}${hasCurves ? inlined('uplot/dist/uPlot.min.css') : ''}</style>
</head>
<body>
<h1>${htmlText(title)}</h1>
${live ? `<p id="live">${htmlText(live.state)}</p>` : ''}
<main${live ? ` data-version="${htmlText(live.version)}"` : ''}>
${summary === undefined ? '' : `<p>${htmlText(summary)}</p>`}
${sections.filter((text) => text !== '').join('\n')}
</main>
${hasCurves ? scripts(curves, live) : ''}
</body>
</html>
`;
}

/** Tables and notes; notes stand alone where a teacher has no images to be measured. */
function results(
  rows: readonly EvaluationRow[],
  otherMeasures: readonly (readonly string[])[],
  notes: readonly string[],
): string {
  if (rows.length === 0 && otherMeasures.length === 0 && notes.length === 0) return '';
  const text = notes.map((note) => `<p>${htmlText(note)}</p>`).join('\n');
  const [head, ...others] = otherMeasures.map((line) => line.map((text) => htmlText(text)));
  const second = head ? tableOf(head, others.map(cellsOf)) : '';
  return section('Results', `${rows.length > 0 ? table(rows) : ''}${second}${text}`);
}

const cellsOf = (texts: readonly string[]): string => texts.map((text) => `<td>${text}</td>`).join('');

function tableOf(head: readonly string[], rows: readonly string[]): string {
  const titles = head.map((text) => `<th>${text}</th>`).join('');
  const body = rows.map((cells) => `<tr>${cells}</tr>`).join('\n');
  return `<div class="scroll"><table><thead><tr>${titles}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}

function section(title: string, body: string): string {
  return `<section>\n<h2>${htmlText(title)}</h2>\n${body}\n</section>`;
}

function table(rows: readonly EvaluationRow[]): string {
  const columns = columnsOf(rows);
  const arrows = { larger: ' ↑', smaller: ' ↓' } as const;
  const head = columns.map(({ title, better }) => `${htmlText(title)}${better ? arrows[better] : ''}`);
  const best = columns.map((column) => bestText(column, rows));
  const body = rows.map((row) => {
    const cells = columns.map(({ text }, c) => {
      const value = text(row);
      return `<td${value === best[c] ? ' class="best"' : ''}>${htmlText(value)}</td>`;
    });
    return cells.join('');
  });
  return tableOf(head, body);
}

/** Text of the best cell of a column, or undefined if it has no best one. */
function bestText({ better, text }: TableColumn, rows: readonly EvaluationRow[]): string | undefined {
  if (!better || rows.length < 2) return undefined;
  const sign = better === 'larger' ? 1 : -1;
  const numbers = rows.map(text).filter((value) => Number.isFinite(Number(value)));
  return numbers.sort((a, b) => sign * (Number(b) - Number(a)))[0];
}

function figure({ title, png }: ReportGrid): string {
  const caption = htmlText(title);
  // The size is in the PNG header, so that the page does not jump and small pictures are shown twice as large.
  const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
  const [width, height] = png.length >= 24 ? [view.getUint32(16), view.getUint32(20)] : [0, 0];
  const scale = width > 0 && width < 320 ? 2 : 1;
  const data = Buffer.from(png).toString('base64');
  return `<figure><figcaption>${caption}</figcaption><img alt="${caption}" width="${width * scale}" height="${height * scale}" src="data:image/png;base64,${data}"></figure>`;
}

function plots(curves: readonly ReportCurve[]): string {
  const places = curves.map(({ title }, i) => `<h3>${htmlText(title)}</h3>\n<div class="plot" id="curve-${i}"></div>`);
  return places.join('\n');
}

function scripts(curves: readonly ReportCurve[], live: LiveReport | undefined): string {
  const data = curves.map(({ title, xLabel = 'step', x, series, isLogarithmic = false }) => {
    for (const { label, values } of series)
      if (values.length !== x.length)
        throw new OptionError(
          `report: series "${label}" of "${title}" must have one value per x, got ${values.length} for ${x.length}`,
        );
    return { xLabel, x, series, isLogarithmic };
  });
  return `<script type="application/json" id="curves-data">${htmlJson(data)}</script>
<script>${inlined('uplot/dist/uPlot.iife.min.js')}</script>
<script>${reportScript}${live ? liveScript(live.seconds) : ''}</script>`;
}

/** A two-column table; nested keys are joined by dots. */
function facts(values: Readonly<Record<string, unknown>>): string {
  const rows = flatten(values, '').map(
    ([name, value]) => `<tr><td>${htmlText(name)}</td><td>${htmlText(value)}</td></tr>`,
  );
  return `<div class="scroll"><table class="settings"><tbody>\n${rows.join('\n')}\n</tbody></table></div>`;
}

function flatten(value: unknown, path: string): [string, string][] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0)
    return Object.entries(value).flatMap(([key, item]) => flatten(item, path === '' ? key : `${path}.${key}`));
  return [[path, typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))]];
}

const files = new Map<string, string>();

/** A file of an installed package as text that may stand in a style or script element. */
function inlined(name: string): string {
  let text = files.get(name);
  if (text === undefined) {
    text = readFileSync(createRequire(import.meta.url).resolve(name), 'utf8').replace(/<\/(script|style)/gi, '<\\/$1');
    files.set(name, text);
  }
  return text;
}
