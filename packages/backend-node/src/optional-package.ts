/** Packages that may be absent: loaded when an engine asks for them, each failure one clear line with the way out. */
import { BackendUnavailableError } from '@dimo/core';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** A package that an engine needs. */
export interface OptionalPackage {
  /** Name of the package, or the absolute path of a folder that `require` accepts. */
  readonly name: string;
  /** Engine that asks, for the message. */
  readonly engine: string;
  /** What makes the package available. */
  readonly fix: string;
}

/**
 * Loads an optional package with `import`.
 *
 * @throws BackendUnavailableError if it is missing or fails to load, with the fix as the hint.
 */
export async function importOptional<T>(optional: OptionalPackage, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    throw unavailable(optional, cause);
  }
}

/**
 * Loads an optional CommonJS package with `require`, which also takes the path of a folder.
 *
 * @throws BackendUnavailableError if it is missing or fails to load, with the fix as the hint.
 */
export function requireOptional(optional: OptionalPackage): unknown {
  try {
    return require(optional.name);
  } catch (cause) {
    throw unavailable(optional, cause);
  }
}

/**
 * Finds an optional package without loading it.
 *
 * @throws BackendUnavailableError if it is missing, with the fix as the hint.
 */
export function requireInstalled(optional: OptionalPackage): void {
  try {
    require.resolve(optional.name);
  } catch (cause) {
    throw unavailable(optional, cause);
  }
}

/** Version of an installed package; `unknown` if its package.json is hidden. */
export function versionOf(name: string): string {
  try {
    return (require(`${name}/package.json`) as { version: string }).version;
  } catch {
    return 'unknown';
  }
}

/** Folder of an installed package. @throws if it is absent. */
export function folderOf(name: string): string {
  return require.resolve(`${name}/package.json`).slice(0, -'package.json'.length);
}

function unavailable({ name, engine, fix }: OptionalPackage, cause: unknown): BackendUnavailableError {
  return new BackendUnavailableError(`${engine} engine: ${reasonOf(name, cause)}`, { cause, hint: fix });
}

function reasonOf(name: string, cause: unknown): string {
  const { code, message = String(cause) } = cause as { code?: string; message?: string };
  const firstLine = message.split('\n')[0]!;
  const isMissing = (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') && firstLine.includes(name);
  return isMissing ? `the package ${name} is not installed` : `the package ${name} cannot be loaded: ${firstLine}`;
}
