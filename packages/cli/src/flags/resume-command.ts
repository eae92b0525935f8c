/** The command that continues a run, as it can be pasted into a shell. */
import type { TypedSettings } from './flags.js';

/** What a run was started with, as far as continuing it needs that again: a run folder cannot name code. */
export type StartedWith = Pick<TypedSettings, 'file' | 'settings' | 'plugins'>;

/**
 * The command line.
 *
 * @param command - `distill`, `train teacher`.
 * @param allPlugins - those of the project, named on the command line or in a configuration file.
 */
export function resumeCommand(
  command: string,
  run: string,
  typed: StartedWith,
  allPlugins: readonly string[] = typed.plugins,
): string {
  // A file that was named is read again only for plugins: it may name them, and their paths are relative to it. Then what
  // was typed has to stand above it again.
  const isFileNeeded = typed.file !== undefined && allPlugins.length > 0;
  const words = [
    // As it was called: where it is not installed for everybody, `dimo` alone is not found.
    ...(/^"?dimo\b/.test(process.env['npm_lifecycle_script'] ?? '') ? ['npx'] : []),
    'dimo',
    ...command.split(' '),
    '--resume',
    // Read as a folder, not as a flag.
    run.startsWith('-') ? `./${run}` : run,
    ...(isFileNeeded ? ['--config', typed.file!] : []),
    // Where the run is says `--resume`, and beside it these are refused.
    ...(isFileNeeded
      ? typed.settings
          .filter(({ path }) => path !== 'run.folder' && path !== 'run.name')
          .flatMap(({ path, text }) => ['--set', `${path}=${text}`])
      : []),
    ...typed.plugins.flatMap((plugin) => ['--plugin', plugin]),
  ];
  return words.map((word) => shellQuoted(word)).join(' ');
}

/** A word as a shell reads it back: the one of the platform. */
export function shellQuoted(word: string, platform: NodeJS.Platform = process.platform): string {
  if (/^[A-Za-z0-9_@+=:,./-]+$/.test(word)) return word;
  if (platform === 'win32') return /^[A-Za-z0-9_@+=:,./\\-]+$/.test(word) ? word : `"${word.replaceAll('"', '\\"')}"`;
  return `'${word.replaceAll("'", "'\\''")}'`;
}
