/**
 * The configuration of a command: the file, then the flags, then `--set`, later ones over earlier ones, checked as a
 * whole. YAML and JSON are data. A TypeScript configuration is the user's own program and is run: where it was named, or
 * found in a project of the user's.
 */
import { decodeText, OptionError } from '@dimo/core';
import { lstat, readFile, stat } from 'node:fs/promises';
import { dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkConfig, isKnownKey, maximumProblems, shown, unknownKeyMessage } from './check.js';
import { schemaAt } from './describe-schema.js';
import { modelFileIn, whyNoProject } from './project.js';
import type { DimoConfig } from './schema.js';
import {
  maximumConfigBytes,
  maximumConfigDepth,
  pathText,
  readYaml,
  readYamlValue,
  type ConfigProblem,
  type KeyPath,
} from './yaml-source.js';

const dataEndings = ['.yaml', '.yml', '.json'];
const programEndings = ['.ts', '.mts', '.js', '.mjs'];

/** Names looked for in the current folder; two of them are an error. */
export const configFileNames = [...dataEndings, ...programEndings].map((ending) => `dimo.config${ending}`);

/** A setting from the command line. */
export interface ConfigSetting {
  /** Key: `distill.numSteps`. */
  readonly path: string;
  /** What was typed; read as YAML unless the key holds text. */
  readonly text: string;
  /** For messages: `--steps 10`, `--set seed=1`. */
  readonly where: string;
}

/** Where a configuration comes from. */
export interface ConfigRequest {
  /** A file to read instead of looking for one. */
  readonly file?: string | undefined;
  /** Values below the file's: those of a run that is resumed. With it no file is looked for. */
  readonly base?: unknown;
  readonly settings?: readonly ConfigSetting[];
  /** Folder to look in. @default the current one */
  readonly folder?: string;
}

/** A checked configuration and where it came from. */
export interface LoadedConfig {
  readonly config: DimoConfig;
  /** What was given, without the defaults: the run that is continued, the file, what was typed. */
  readonly tree: Readonly<Record<string, unknown>>;
  /** The file that was read, if any. */
  readonly file: string | undefined;
  /** Folder of that file, or the current folder: what plugin paths are relative to. */
  readonly projectFolder: string;
  /** Keys that the file or the command line set, as opposed to defaults. */
  readonly given: ReadonlySet<string>;
  /** Keys that the command line set, and how: `--steps 10`. */
  readonly typed: ReadonlyMap<string, string>;
}

/**
 * Loads and checks the configuration.
 *
 * @throws OptionError listing every problem with its key, place and remedy.
 */
export async function loadConfig(request: ConfigRequest = {}): Promise<LoadedConfig> {
  const folder = resolve(request.folder ?? '.');
  const file =
    request.file === undefined ? (request.base === undefined ? await findConfig(folder) : undefined) : request.file;
  const isFound = file !== undefined && request.file === undefined;
  if (isFound && programEndings.includes(extname(file))) await requireProject(folder, file, 'is a program');
  const source =
    file === undefined ? { value: {}, lines: new Map(), problems: [] } : await readConfigFile(file, folder);
  const problems: ConfigProblem[] = [...source.problems];
  if (source.value === undefined) throw configError(problems);
  const tree: Record<string, unknown> = {};
  const places = new Map<string, string>();
  if (request.base !== undefined) mergeInto(tree, request.base);
  if (isSection(source.value)) mergeInto(tree, source.value);
  else if (source.value !== null && file !== undefined)
    problems.push({ path: [], where: file, message: `must hold a section of keys, got ${shown(source.value)}` });
  const given = new Set<string>();
  collectKeys(source.value, [], given);
  for (const setting of request.settings ?? []) {
    const problem = applySetting(tree, setting);
    if (problem) problems.push(problem);
    places.set(setting.path, setting.where);
    given.add(setting.path);
  }
  const locate = (path: KeyPath): string => {
    for (let length = path.length; length >= 0; length--) {
      const key = pathText(path.slice(0, length));
      const place = places.get(key);
      if (place !== undefined) return place;
      const line = source.lines.get(key);
      if (line !== undefined) return `${file}:${line}`;
    }
    return file ?? 'configuration';
  };
  const checked = checkConfig(tree, locate);
  problems.push(...checked.problems);
  if (problems.length > 0 || checked.config === undefined) throw configError(problems);
  const projectFolder = file === undefined ? folder : dirname(resolve(folder, file));
  // Nothing that comes with weights names code: neither a file that was found there nor one that was named as data.
  if (file !== undefined && dataEndings.includes(extname(file)) && checked.config.plugins.length > 0)
    if (isFound || (await modelFileIn(projectFolder)) !== undefined)
      await requireProject(projectFolder, file, `names plugins (${checked.config.plugins.join(', ')})`);
  return { config: checked.config, tree, file, projectFolder, given, typed: places };
}

/** @throws OptionError unless the folder is a project of the user's. */
async function requireProject(folder: string, file: string, what: string): Promise<void> {
  const why = await whyNoProject(folder);
  if (why === undefined) return;
  const path = join(folder, file);
  throw new OptionError(`${file} ${what}, and is not used: the folder ${folder} is not a project, ${why}`, {
    path,
    hint: what.startsWith('names')
      ? 'if you trust it, name the plugins yourself with --plugin and take them out of the file, or work in a folder with a package.json and without weights'
      : `if you trust it, name it with --config ${file}, or work in a folder with a package.json and without weights`,
  });
}

async function findConfig(folder: string): Promise<string | undefined> {
  const isThere = await Promise.all(
    configFileNames.map((name) =>
      lstat(join(folder, name)).then(
        () => true,
        () => false,
      ),
    ),
  );
  const found = configFileNames.filter((_, index) => isThere[index]);
  if (found.length > 1)
    throw new OptionError(`there are several configuration files in ${folder}: ${found.join(' and ')}`, {
      path: join(folder, found[0]!),
      hint: 'remove all but one, or name one with --config',
    });
  return found[0];
}

interface FileSource {
  readonly value: unknown;
  readonly lines: ReadonlyMap<string, number>;
  readonly problems: readonly ConfigProblem[];
}

async function readConfigFile(file: string, folder: string): Promise<FileSource> {
  const path = resolve(folder, file);
  const size = await stat(path).then(
    (stats) => (stats.isFile() ? stats.size : -1),
    () => undefined,
  );
  if (size === undefined) throw new OptionError(`there is no configuration file ${file}`, { path: file });
  if (size < 0) throw new OptionError(`${file} is not a regular file`, { path: file });
  if (size > maximumConfigBytes)
    throw new OptionError(`${file} has ${size} bytes; a configuration may have ${maximumConfigBytes}`, { path: file });
  const ending = extname(file);
  const isData = dataEndings.includes(ending);
  const text = isData || programEndings.includes(ending) ? decodeText(await readFile(path), file) : '';
  if (isData) return readYaml(text, file);
  if (programEndings.includes(ending)) return { value: await importConfig(path, file), lines: new Map(), problems: [] };
  throw new OptionError(`${file}: a configuration file ends in .yaml, .yml, .json, .ts, .mts, .js or .mjs`, {
    path: file,
  });
}

/** Runs the user's own configuration program. */
async function importConfig(path: string, file: string): Promise<unknown> {
  try {
    const { createJiti } = await import('jiti');
    const jiti = createJiti(pathToFileURL(path).href, { fsCache: false });
    const module = await jiti.import<{ default?: unknown }>(path);
    return plainData(module.default, file);
  } catch (cause) {
    if (cause instanceof OptionError) throw cause;
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new OptionError(`${file} failed while it was run: ${message}`, { path: file, cause });
  }
}

/** What a configuration program exports, as data. */
function plainData(value: unknown, file: string): unknown {
  if (!isSection(value)) throw new OptionError(`${file} must export an object as default, got ${shown(value)}`);
  if (depthOf(value, 0) > maximumConfigDepth)
    throw new OptionError(`${file}: the exported object is nested deeper than ${maximumConfigDepth} levels`);
  return value;
}

/** Nesting of plain data; stops counting just beyond the limit, so that a cycle ends too. */
function depthOf(value: unknown, depth: number): number {
  if (typeof value !== 'object' || value === null || depth > maximumConfigDepth) return depth;
  return Math.max(depth, ...Object.values(value).map((child) => depthOf(child, depth + 1)));
}

/** Puts one command line setting into the tree. */
function applySetting(tree: Record<string, unknown>, setting: ConfigSetting): ConfigProblem | undefined {
  const path = setting.path.split('.');
  if (path.length > 32 || path.some((key) => key === ''))
    return { path: [], where: setting.where, message: 'must name a key, such as distill.numSteps' };
  if (!isKnownKey(path)) return { path, where: setting.where, message: unknownKeyMessage(path) };
  const node = schemaAt(path);
  const value = node?.type === 'string' ? setting.text : readYamlValue(setting.text);
  let section = tree;
  const reached: string[] = [];
  for (const key of path.slice(0, -1)) {
    const child = Object.hasOwn(section, key) ? section[key] : undefined;
    reached.push(key);
    const short = schemaAt(reached)?.shorthandKey;
    if (isSection(child)) section = child;
    // What stands there in short form keeps its meaning beside the key that is set.
    else section = define(section, key, short !== undefined && typeof child === 'number' ? { [short]: child } : {});
  }
  define(section, path.at(-1)!, value);
  return undefined;
}

/** Sets an own property whatever its name is (`__proto__` is a key like any other). */
function define<T>(section: Record<string, unknown>, key: string, value: T): T {
  Object.defineProperty(section, key, { value, enumerable: true, configurable: true, writable: true });
  return value;
}

/** Sections of both with all their keys, those of the second over those of the first. */
export function mergedSections(first: unknown, second: unknown): Record<string, unknown> {
  const merged: Record<string, unknown> = {};
  mergeInto(merged, first);
  mergeInto(merged, second);
  return merged;
}

function mergeInto(target: Record<string, unknown>, source: unknown): void {
  if (!isSection(source)) return;
  for (const [key, value] of Object.entries(source)) {
    const existing = Object.hasOwn(target, key) ? target[key] : undefined;
    if (isSection(value)) mergeInto(isSection(existing) ? existing : define(target, key, {}), value);
    else define(target, key, value);
  }
}

function collectKeys(value: unknown, path: readonly string[], given: Set<string>): void {
  if (!isSection(value)) return;
  for (const [key, child] of Object.entries(value)) {
    given.add([...path, key].join('.'));
    if (path.length < 32) collectKeys(child, [...path, key], given);
  }
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One error for all problems. */
export function configError(problems: readonly ConfigProblem[]): OptionError {
  // Those of the schema are counted already, in one more line.
  const most = maximumProblems + 1;
  const rest = problems.length - most;
  const lines = problems
    .slice(0, most)
    .map(({ path, where, message }) =>
      [where, pathText(path), message]
        .filter((part) => part !== '')
        .join(where === '' || path.length === 0 ? ': ' : ' '),
    );
  if (rest > 0) lines.push(`and ${rest} more problems`);
  const title =
    problems.length === 1 ? 'the configuration has a problem' : `the configuration has ${problems.length} problems`;
  return new OptionError(`${title}:\n${lines.map((line) => `  ${line.replace(/\n/g, '\\n')}`).join('\n')}`, {
    hint: 'every key is described in docs/configuration.md; `dimo info config` prints the resolved settings',
  });
}
