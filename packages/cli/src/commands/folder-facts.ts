/** Facts about folders that are no model: runs, tokenizers, checkpoints, evaluations. */
import { folderCheckpointStore, folderWeightSource, pathInside } from '@dimo/backend-node';
import { listCheckpoints, readJsonFile, sizeOf } from '@dimo/core';
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { evaluationFileName, readEvaluation } from '../evaluation/files.js';
import { readImport } from '@dimo/pipeline';
import { readHealth } from '../run/health-file.js';
import { isRunFolder, partOfRun, runState, unfinishedNote, type RunPart } from '../run/parts.js';

type Facts = Record<string, unknown>;

/** Facts of a model in a run. */
export type ModelFacts = (folder: string, kind: 'generator' | 'teacher') => Promise<Facts>;

/** Facts about a folder or file that is no model of its own; undefined if it is something else. */
export async function folderFacts(path: string, modelFacts: ModelFacts): Promise<Facts | undefined> {
  if (basename(path) === evaluationFileName || path.endsWith('.json')) return evaluationFacts(path);
  if (isRunFolder(path)) return runFacts(path, modelFacts);
  if (existsSync(join(path, 'state.json'))) return checkpointFacts(path);
  if (await isCheckpointFolder(path)) return checkpointListFacts(path);
  if (isTokenizer(path)) return tokenizerFacts(path);
  if (existsSync(join(path, evaluationFileName)) && !existsSync(join(path, 'config.json')))
    return evaluationFacts(join(path, evaluationFileName));
  return undefined;
}

/** Where an import is from, for folders that `dimo import` wrote. */
export async function importFacts(path: string): Promise<Facts> {
  const imported = await readImport(path);
  if (!imported) return {};
  const { kind, source, teacherSource } = imported;
  return { import: { kind, source, ...(teacherSource === undefined ? {} : { teacherSource }) } };
}

async function runFacts(run: string, modelFacts: ModelFacts): Promise<Facts> {
  const state = await runState(run);
  const note = await unfinishedNote(run);
  const health = await readHealth(run);
  const evaluation = existsSync(join(run, evaluationFileName))
    ? await evaluationFacts(join(run, evaluationFileName))
    : undefined;
  const part = async (name: RunPart): Promise<string | undefined> =>
    partOfRun(run, name) === undefined ? undefined : pathInside(run, name);
  const generator = await part('generator');
  const teacher = await part('teacher');
  const tokenizer = await part('tokenizer');
  return {
    run,
    ...state,
    ...(note === undefined ? {} : { unfinished: note.replace(/^note: /, '') }),
    checkpoints: [...(await listCheckpoints(folderCheckpointStore(join(run, 'checkpoints'), run)))],
    ...(health ? { health } : {}),
    ...(evaluation ? { evaluation } : {}),
    ...(generator === undefined ? {} : await modelFacts(generator, 'generator')),
    ...(teacher === undefined ? {} : { teacherFolder: teacher, ...(await modelFacts(teacher, 'teacher')) }),
    ...(tokenizer === undefined ? {} : await tokenizerFacts(tokenizer)),
  };
}

async function checkpointFacts(folder: string): Promise<Facts> {
  const value = (await readJsonFile(folderWeightSource(folder), 'state.json')) as Facts;
  const { step, identity, state } = value;
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors'));
  const bytes = await Promise.all(names.map(async (name) => [name, (await stat(join(folder, name))).size] as const));
  const above = dirname(dirname(folder));
  return {
    checkpoint: folder,
    ...(isRunFolder(above) ? { run: above } : {}),
    step,
    bytes: Object.fromEntries(bytes),
    ...(state === undefined ? {} : { state }),
    ...(identity === undefined ? {} : { identity }),
  };
}

async function isCheckpointFolder(path: string): Promise<boolean> {
  const names = await readdir(path).catch(() => []);
  return names.some((name) => /^step-[0-9]+$/.test(name) && existsSync(join(path, name, 'state.json')));
}

async function checkpointListFacts(folder: string): Promise<Facts> {
  const run = dirname(folder);
  return {
    checkpoints: [...(await listCheckpoints(folderCheckpointStore(folder)))],
    ...(isRunFolder(run) ? { run } : {}),
  };
}

function isTokenizer(path: string): boolean {
  const has = (name: string): boolean => existsSync(join(path, name));
  return has('config.json') && has('tokenizer.safetensors') && !has('teacher.json') && !has('transformer.safetensors');
}

async function tokenizerFacts(folder: string): Promise<Facts> {
  const { readTokenizer } = await import('@dimo/tokenizers');
  const { tokenizer, config } = await readTokenizer(folderWeightSource(folder));
  const { name, imageShape, grid, codebookSize, parameters } = tokenizer;
  return {
    tokenizer: folder,
    model: name,
    parameters: Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0),
    tokens: { codebookSize, grid: [...grid] },
    imageShape: [...imageShape],
    config,
  };
}

async function evaluationFacts(file: string): Promise<Facts | undefined> {
  const found = await readEvaluation(file);
  if (!found) return undefined;
  const { rows, pluginRows, notes, engine } = found;
  return { evaluation: file, rows, pluginRows, notes, engine };
}
