/** The report of a run, from the files in its folder. */
import { renderReport, type ReportContent, type ReportCurve, type ReportGrid } from '@dimo/eval';
import { isAbsentFile, pathInside, readFileChecked } from '@dimo/backend-node';
import { escapeText, OptionError } from '@dimo/core';
import { readdir } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { evaluationFileName, pluginCells, readEvaluation } from './files.js';
import { healthLine } from '../run/health.js';
import { readRunConfig, writeFileAtomically } from '../run/folder.js';
import { readHealth } from '../run/health-file.js';
import { readMetrics, type MetricsLine } from '../run/metrics.js';
import { version } from '../version.js';

/** Bytes of a picture that is put into a report. */
const maximumPictureBytes = 2 ** 26;

/** Points beyond which curves are thinned, evenly. */
const maximumPoints = 500;

/** Charts by the metrics they show; those that a run has no metrics for are left out. */
const charts: readonly {
  readonly title: string;
  readonly metrics: readonly string[];
  readonly logarithmic?: boolean;
}[] = [
  { title: 'Divergence (generator)', metrics: ['generator/divergence', 'generator/forwardKl'] },
  { title: 'Loss of the auxiliary model', metrics: ['auxiliary/loss', 'auxiliary/maskedNll'] },
  { title: 'Total variation between auxiliary model and teacher (health)', metrics: ['generator/totalVariation'] },
  { title: 'Entropy of the generated tokens, nats (health)', metrics: ['generator/tokenEntropy'] },
  { title: 'Part of the codebook in use', metrics: ['generator/codebookUsed'] },
  { title: 'Loss', metrics: ['loss', 'maskedNll', 'reconstruction'] },
  { title: 'Squared error of reconstructions', metrics: ['squaredError'], logarithmic: true },
  { title: 'Codes in use (perplexity)', metrics: ['perplexity'] },
  {
    title: 'Gradient norm',
    metrics: ['generator/gradientNorm', 'auxiliary/gradientNorm', 'gradientNorm'],
    logarithmic: true,
  },
  { title: 'Learning rate', metrics: ['generator/learningRate', 'auxiliary/learningRate', 'learningRate'] },
];

/**
 * Writes the report of a run.
 *
 * @param run - folder of the run.
 * @param out - file. @default report.html in the run
 * @returns the file's path.
 */
export async function writeReport(run: string, out: string = join(run, 'report.html')): Promise<string> {
  await writeFileAtomically(out, renderReport(await reportOf(run)));
  return out;
}

/** What is known of a run. */
export async function reportOf(run: string): Promise<ReportContent> {
  const config = await readRunConfig(run);
  const metrics = await readMetrics(join(run, 'metrics.jsonl'));
  const evaluation = await readEvaluation(join(run, evaluationFileName));
  const health = await readHealth(run);
  const name = basename(resolve(run));
  return {
    title: `dimo: ${name}`,
    summary: `${metrics.at(-1)?.step ?? 0} steps. ${health ? `${capitalized(healthLine(health))}. ` : ''}Made by dimo ${version}.`,
    ...(evaluation && evaluation.rows.length > 0 ? { rows: evaluation.rows } : {}),
    ...(evaluation && evaluation.pluginRows.length > 0 ? { otherMeasures: pluginCells(evaluation.pluginRows) } : {}),
    notes: evaluation?.notes ?? [],
    grids: [...(evaluation?.pictures ?? []), ...(await sampleGrids(run))],
    curves: curvesOf(metrics),
    settings: config,
    ...(evaluation ? { machine: evaluation.engine } : {}),
  };
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Grids of the generator while it was trained: the first, some between, the last. */
async function sampleGrids(run: string): Promise<ReportGrid[]> {
  const folder = await pathInside(run, 'samples');
  const names = (await namesIn(folder)).filter((name) => name.endsWith('.png')).sort(byNumber);
  const stride = Math.max(1, Math.ceil(names.length / 6));
  const chosen = names.filter((_, i) => i % stride === 0 || i === names.length - 1);
  return Promise.all(
    chosen.map(async (name) => ({
      title: `while training: ${name.replace(/\.png$/, '').replace(/^step-0*(\d)/, 'step $1')}`,
      png: await readPng(join(folder, name), run),
    })),
  );
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isAbsentFile(error)) return [];
    throw error;
  }
}

/** By the numbers in them: after step 999999 comes 1000000. */
function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** A picture of a run. @throws OptionError if it is none; DimoError with code `io` if it is not in the run. */
async function readPng(path: string, run: string): Promise<Uint8Array> {
  const bytes = await readFileChecked(path, maximumPictureBytes, run);
  // Whatever else lies there has no place in a file that is passed on.
  if (![0x89, 0x50, 0x4e, 0x47].every((byte, i) => bytes[i] === byte))
    throw new OptionError(`${escapeText(path)} is no PNG`, { path, hint: 'remove it, then write the report again' });
  return bytes;
}

function curvesOf(metrics: readonly MetricsLine[]): ReportCurve[] {
  const stride = Math.max(1, Math.ceil(metrics.length / maximumPoints));
  const lines = metrics.filter((_, i) => i % stride === 0);
  return charts.flatMap(({ title, metrics: names, logarithmic }) => {
    const present = names.filter((name) => lines.some((line) => typeof line[name] === 'number'));
    if (present.length === 0) return [];
    return [
      {
        title,
        x: lines.map(({ step }) => step),
        series: present.map((label) => ({
          label,
          values: lines.map((line) => (typeof line[label] === 'number' ? line[label] : null)),
        })),
        ...(logarithmic ? { isLogarithmic: true } : {}),
      },
    ];
  });
}
