/**
 * Whether onnxruntime-node is there, and what brings it. Its own install script downloads CUDA
 * libraries on Linux; where that fails, npm leaves the whole package out without a word, for it is an optional one.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Whether the package is installed; that does not mean that it runs. */
export function hasOnnxruntime(): boolean {
  try {
    createRequire(import.meta.url).resolve('onnxruntime-node/package.json');
    return true;
  } catch {
    return false;
  }
}

/** Lock files by which a project's package manager is known, with the command that installs without any scripts. */
const commands: readonly (readonly [lockFile: string, command: string])[] = [
  ['pnpm-lock.yaml', 'pnpm install --ignore-scripts'],
  ['yarn.lock', 'yarn install --mode=skip-build'],
  ['bun.lock', 'bun install --ignore-scripts'],
];

/**
 * The command that installs what is missing, by the package manager that installed this package. None of our
 * dependencies needs an install script.
 *
 * @param here - folder of this package.
 * @param workingFolder - where the command will be typed.
 */
export function installCommand(here = dirname(fileURLToPath(import.meta.url)), workingFolder = process.cwd()): string {
  if (process.versions['pnp']) return 'yarn install --mode=skip-build'; // Yarn's Plug'n'Play: packages are in no folder
  const project = projectOf(here);
  if (!project) return 'npm install --global --ignore-scripts @dimo/cli';
  const [, command] = commands.find(([lockFile]) => existsSync(join(project, lockFile))) ?? [];
  const place = relative(project, workingFolder).split(sep)[0] === '..' ? `cd "${project}" && ` : '';
  return `${place}${command ?? 'npm install --include=optional --ignore-scripts'}`;
}

/** The folder whose dependencies these are; undefined for a global installation. */
function projectOf(here: string): string | undefined {
  const folders = [here];
  while (dirname(folders.at(-1)!) !== folders.at(-1)) folders.push(dirname(folders.at(-1)!));
  // Managers keep packages in nested folders: the outermost is the project's own.
  const modules = folders.findLast((folder) => folder.endsWith(`${sep}node_modules`));
  if (modules) return existsSync(join(dirname(modules), 'package.json')) ? dirname(modules) : undefined;
  return folders.findLast((folder) => existsSync(join(folder, 'package-lock.json'))) ?? folders[0];
}
