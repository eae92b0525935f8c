/** Where a library of onnxruntime is: named by the environment, beside onnxruntime-node, or in a Python environment. */
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { folderOf } from '../optional-package.js';

/** The environment variable that names a library, or a folder with one. */
export const libraryVariable = 'DIMO_ONNXRUNTIME';

/** The library by itself, under the names of all systems; its providers and language bindings have other names. */
const libraryName = /^(libonnxruntime\.so(\.\d+)*|libonnxruntime(\.\d+)*\.dylib|onnxruntime\.dll)$/;

/** A provider in a library of its own. */
const providerNames: Readonly<Record<string, RegExp>> = {
  cuda: /^(lib)?onnxruntime_providers_cuda\.(so|dll)$/,
};

/** Folders below one that is named, in which packages for Python and C keep the library. */
const innerFolders = ['', 'capi', 'onnxruntime/capi', 'lib'];

/** What was found. */
export interface OrtFiles {
  readonly library: string;
  /** The provider's own library beside it; undefined where none is needed. */
  readonly provider?: string;
}

/**
 * Finds the library, and that of a provider beside it.
 *
 * @returns undefined if there is none. One that the environment names is the only one looked at.
 */
export function findOrt(provider: 'cpu' | 'cuda', environment: NodeJS.ProcessEnv = process.env): OrtFiles | undefined {
  const named = environment[libraryVariable];
  const folders = named ? foldersOf(named) : [...packageFolders(), ...pythonFolders(environment)];
  for (const folder of folders) {
    const names = namesIn(folder);
    const library = named && isFile(named) ? named : pathOf(folder, names, libraryName);
    if (!library) continue;
    const wanted = providerNames[provider];
    if (!wanted) return { library };
    const found = pathOf(folder, names, wanted);
    if (found) return { library, provider: found };
  }
  return undefined;
}

function foldersOf(named: string): string[] {
  return isFile(named) ? [dirname(named)] : innerFolders.map((inner) => join(named, inner));
}

/** Folders of onnxruntime-node's own build for this system. */
function packageFolders(): string[] {
  try {
    const bin = join(folderOf('onnxruntime-node'), 'bin');
    return namesIn(bin).map((version) => join(bin, version, process.platform, process.arch));
  } catch {
    return [];
  }
}

/** Folders of the packages onnxruntime and onnxruntime-gpu for Python, in the environment that is active. */
function pythonFolders(environment: NodeJS.ProcessEnv): string[] {
  const root = environment['VIRTUAL_ENV'] || environment['CONDA_PREFIX'];
  if (!root) return [];
  const versions = namesIn(join(root, 'lib')).filter((name) => name.startsWith('python'));
  const libraries = [...versions.map((name) => join(root, 'lib', name)), join(root, 'Lib')];
  return libraries.map((folder) => join(folder, 'site-packages', 'onnxruntime', 'capi'));
}

function pathOf(folder: string, names: readonly string[], wanted: RegExp): string | undefined {
  const name = names.find((candidate) => wanted.test(candidate));
  return name === undefined ? undefined : join(folder, name);
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
