/** The files of an evaluation: `eval.json` with the numbers and `eval-samples/` with one grid per row. */
import { decodeText, escapeText, isRecord, OptionError } from '@dimo/core';
import { isAbsentFile, makeFolders, pathInside, readFileChecked } from '@dimo/backend-node';
import { formatTable, type EvaluationRow } from '@dimo/eval';
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Evaluation, PluginRow } from './evaluation.js';
import type { CardFigures } from '../models/model-card.js';
import { formatNumber } from '../run/progress.js';
import { writeFileAtomically } from '../run/folder.js';

/** Content of `eval.json`. */
export interface EvaluationFile {
  readonly format: 'dimo-evaluation';
  readonly version: 1;
  readonly rows: readonly EvaluationRow[];
  readonly pluginRows: readonly PluginRow[];
  readonly notes: readonly string[];
  /** Titles of the grids, in the order of their files. */
  readonly grids: readonly string[];
  readonly engine: Readonly<Record<string, unknown>>;
}

/** Name of the numbers' file in a run. */
export const evaluationFileName = 'eval.json';

/** Folder of the grids beside the numbers. */
function gridFolder(file: string): string {
  return join(dirname(file), 'eval-samples');
}

/** Writes numbers and grids. */
export async function writeEvaluation(
  file: string,
  evaluation: Evaluation,
  engine: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { rows, pluginRows, notes, grids } = evaluation;
  const content: EvaluationFile = {
    format: 'dimo-evaluation',
    version: 1,
    rows,
    pluginRows,
    notes,
    grids: grids.map(({ title }) => title),
    engine,
  };
  await makeFolders(dirname(file));
  const folder = await pathInside(dirname(file), basename(gridFolder(file)));
  if (grids.length > 0) {
    await makeFolders(folder);
    const old = (await readdir(folder)).filter((name) => /^[0-9]{2,}\.png$/.test(name));
    for (const name of old) await rm(join(folder, name));
  }
  for (const [i, { png }] of grids.entries()) await writeFileAtomically(join(folder, gridName(i)), png);
  await writeFileAtomically(file, `${JSON.stringify(content, null, 2)}\n`);
}

/** Reads numbers and grids; undefined if there are none. @throws OptionError if the file is of another kind. */
export async function readEvaluation(
  file: string,
): Promise<(EvaluationFile & { readonly pictures: readonly { title: string; png: Uint8Array }[] }) | undefined> {
  let bytes: Uint8Array;
  try {
    bytes = await readFileChecked(file, 2 ** 24, dirname(file));
  } catch (error) {
    if (isAbsentFile(error)) return undefined;
    throw error;
  }
  const text = decodeText(bytes, file);
  let content: EvaluationFile;
  try {
    content = JSON.parse(text) as EvaluationFile;
  } catch (cause) {
    throw new OptionError(`${file} is not JSON`, { path: file, cause });
  }
  const wrong = wrongPart(content);
  if (wrong !== undefined)
    throw new OptionError(`${escapeText(file)} is not an evaluation of this version: ${wrong}`, {
      path: file,
      hint: 'run `dimo eval` again, or remove the file',
    });
  const pictures: { title: string; png: Uint8Array }[] = [];
  for (const [i, title] of content.grids.entries()) {
    const png = await readGrid(file, i);
    if (png) pictures.push({ title: String(title), png });
  }
  return { ...content, pictures };
}

/** Rows, notes and pictures beyond this number are no evaluation. */
const maximumEntries = 1000;

/** What is wrong with a file that anybody may have written; undefined if nothing is. */
function wrongPart(content: unknown): string | undefined {
  const areAll = (value: unknown, isGood: (item: unknown) => boolean): boolean =>
    Array.isArray(value) && value.length <= maximumEntries && value.every(isGood);
  const isText = (value: unknown): boolean => typeof value === 'string';
  const isNumber = (value: unknown): boolean => typeof value === 'number' || value === null || value === undefined;
  const isRow = (row: unknown): boolean =>
    isRecord(row) &&
    Object.entries(row).every(([name, value]) => (name === 'method' ? isText(value) : isNumber(value)));
  const isPluginRow = (row: unknown): boolean =>
    isRecord(row) &&
    isText(row['method']) &&
    [row['steps'], row['samplesPerSecond']].every(isNumber) &&
    isRecord(row['metrics']) &&
    Object.values(row['metrics']).every(isNumber);
  if (!isRecord(content) || content['format'] !== 'dimo-evaluation') return 'its format is another';
  if (content['version'] !== 1) return 'its version is another';
  if (!areAll(content['rows'], (row) => isRow(row) && isText((row as { method?: unknown }).method))) return 'rows';
  if (!areAll(content['pluginRows'], isPluginRow)) return 'pluginRows';
  if (!areAll(content['notes'], isText)) return 'notes';
  if (!areAll(content['grids'], isText)) return 'grids';
  return isRecord(content['engine']) ? undefined : 'engine';
}

/** A grid; undefined if somebody has removed it. */
async function readGrid(file: string, index: number): Promise<Uint8Array | undefined> {
  try {
    return await readFileChecked(join(gridFolder(file), gridName(index)), 2 ** 26, dirname(file));
  } catch (error) {
    if (isAbsentFile(error)) return undefined;
    throw error;
  }
}

function gridName(index: number): string {
  return `${String(index).padStart(2, '0')}.png`;
}

/** Tables and notes for a terminal. */
export function evaluationText({ rows, pluginRows, notes }: Pick<Evaluation, 'rows' | 'pluginRows' | 'notes'>): string {
  const parts = [
    ...(rows.length > 0 ? [formatTable(rows)] : []),
    ...(pluginRows.length > 0 ? [pluginTable(pluginRows)] : []),
    notes.join('\n'),
  ];
  return parts.join('\n\n');
}

/** The figures of a model card; undefined if nothing was measured. */
export function cardFigures({ rows, pluginRows, notes }: Evaluation, engine: string): CardFigures | undefined {
  if (rows.length === 0) return pluginRows.length > 0 ? { cells: pluginCells(pluginRows), engine, notes } : undefined;
  const keys = [...new Set(['count', ...rows.flatMap(Object.keys)])].filter((key) => key !== 'method');
  const cell = (value: unknown): string =>
    typeof value !== 'number' ? '–' : Number.isInteger(value) ? String(value) : formatNumber(value);
  return {
    cells: [
      ['method', ...keys],
      ...rows.map((row) => [row.method, ...keys.map((key) => cell(row[key as keyof EvaluationRow]))]),
    ],
    engine,
    notes,
  };
}

/** Measures of plugins as a table: the head and then the rows. */
export function pluginCells(rows: readonly PluginRow[]): string[][] {
  const names = Object.keys(rows[0]?.metrics ?? {});
  return [
    ['method', 'steps', 'samples/s', ...names],
    ...rows.map((row) => [
      row.method,
      row.steps === undefined ? '–' : String(row.steps),
      row.samplesPerSecond === undefined ? '–' : formatNumber(row.samplesPerSecond),
      ...names.map((name) => formatNumber(row.metrics[name]!)),
    ]),
  ];
}

function pluginTable(rows: readonly PluginRow[]): string {
  const cells = pluginCells(rows);
  const widths = cells[0]!.map((_, column) => Math.max(...cells.map((line) => line[column]!.length)));
  return cells
    .map((line) =>
      line
        .map((text, column) => (column === 0 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
