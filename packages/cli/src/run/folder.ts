/** Run folders: their names, their configuration file, and the lock and write probe before anything is computed. */
import { decodeText, DimoError, OptionError } from '@dimo/core';
import {
  makeFolders,
  openRunFolder,
  pathInside,
  readFileChecked,
  writeFileAtomically,
  type RunFolder,
} from '@dimo/backend-node';
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { DimoConfig } from '../config/schema.js';
import { maximumConfigBytes, readYaml } from '../config/yaml-source.js';
import { configError } from '../config/load.js';
import { checkRunName, isReservedName } from './run-name.js';

export { writeFileAtomically };

/** Name of the resolved configuration in a run folder. */
export const runConfigName = 'config.yaml';

/** Which folder a new run gets. */
export interface NewRunName {
  /** `run.folder` of the configuration. */
  readonly folder: string;
  /** `run.name`, if the user chose one. */
  readonly name: string | undefined;
  /** Name to use otherwise, with a number behind it where it is taken. */
  readonly fallback: string;
}

/**
 * Opens the folder of a new run: made, locked and probed for writing.
 *
 * @throws OptionError if the chosen name is not the name of a folder in `folder`, or already holds a run.
 * @throws DimoError with code `locked` if another process has it.
 */
export async function openNewRun({ folder, name, fallback }: NewRunName): Promise<RunFolder> {
  if (name !== undefined) checkRunName(name);
  const path = await pathInside(folder, name ?? (await freeName(folder, fallback)));
  const run = await openRunFolder(path);
  const isUsed = (await run.checkpoints.list('')).some((entry) => entry.startsWith('step-'));
  if (!isUsed) return run;
  await run.release();
  throw new OptionError(`${path} already holds a run`, {
    path,
    hint: `continue it with --resume ${path}, or choose another --name`,
  });
}

async function freeName(folder: string, fallback: string): Promise<string> {
  const short = fallback.replace(/[^A-Za-z0-9._-]+/g, '-').slice(-100);
  const trimmed = short.replace(/^[.-]+|[.]+$/g, '') || 'run';
  const clean = isReservedName(trimmed) ? `run-${trimmed}` : trimmed;
  const taken = new Set(await readdir(folder).catch(() => []));
  let name = clean;
  for (let number = 2; taken.has(name); number++) name = `${clean}-${number}`;
  return name;
}

/**
 * Opens the folder of a run that is continued.
 *
 * @throws DimoError with code `io` if there is no such run, or if something else is where it keeps its folders: that is
 *   found before anything is computed.
 */
export async function openExistingRun(path: string): Promise<RunFolder> {
  await readRunConfig(path);
  for (const name of foldersOfRun) await checkFolder(path, name);
  return openRunFolder(path);
}

/** What a run keeps its files in. */
const foldersOfRun = ['checkpoints', 'samples', 'generator', 'teacher', 'tokenizer'];

async function checkFolder(run: string, name: string): Promise<void> {
  const folder = await pathInside(run, name);
  const found = await stat(folder).catch(() => undefined);
  if (found === undefined || found.isDirectory()) return;
  throw new DimoError('io', `${folder} is not a folder`, { path: folder, hint: 'something is in the way; remove it' });
}

/**
 * A folder in a run, made if it is absent.
 *
 * @throws DimoError with code `io` if it is a link out of the run: a run that was received must not make this machine
 *   write elsewhere.
 */
export async function folderInRun(run: string, name: string): Promise<string> {
  const folder = await pathInside(run, name);
  await makeFolders(folder);
  return folder;
}

/** Writes the complete, resolved configuration of a run. */
export async function writeRunConfig(path: string, config: DimoConfig, command: string): Promise<void> {
  const text = `# Resolved configuration of this run (dimo ${command}); every key is described in docs/configuration.md.\n${stringify(config)}`;
  await writeFileAtomically(join(path, runConfigName), text);
}

/**
 * Reads the configuration of a run, as plain data that still has to be checked.
 *
 * @throws DimoError with code `io` if it cannot be read, OptionError if it is not YAML.
 */
export async function readRunConfig(path: string): Promise<Record<string, unknown>> {
  const file = join(path, runConfigName);
  const other = join(path, 'config.json');
  if (existsSync(file) && existsSync(other))
    throw new OptionError(`${path} holds both ${runConfigName} and config.json: is it a run or a model?`, {
      path,
      hint: 'name a folder that holds one of them; a run keeps its model in generator/, teacher/ or tokenizer/',
    });
  let bytes: Uint8Array;
  try {
    bytes = await readFileChecked(file, maximumConfigBytes, path);
  } catch (cause) {
    if (!DimoError.isInstance(cause)) throw cause;
    throw new DimoError('io', `${path} is not the folder of a run: ${cause.message}`, {
      path,
      cause,
      hint: 'name a folder such as runs/my-run, which holds config.yaml and checkpoints/',
    });
  }
  const { value, problems } = readYaml(decodeText(bytes, file), file);
  if (problems.length > 0 || typeof value !== 'object' || value === null) throw configError(problems);
  // Whoever sends a run folder sends data: it cannot name code.
  const { plugins: _plugins, ...rest } = value as Record<string, unknown>;
  return rest;
}
