/** Packages that a page may lack: loaded when an engine asks for them, each failure one clear line with the way out. */
import { BackendUnavailableError } from '@dimo/core';

/**
 * Loads an optional package.
 *
 * @throws BackendUnavailableError if it is not there or does not load.
 */
export async function loadPackage<T>(engine: string, name: string, load: () => Promise<T>): Promise<T> {
  try {
    return await load();
  } catch (cause) {
    const reason = (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!;
    throw new BackendUnavailableError(`${engine} engine: the package ${name} cannot be loaded: ${reason}`, {
      cause,
      hint: `add ${name} to the page's packages, and look at the connection`,
    });
  }
}

/**
 * For `import('package').catch(rethrow)`: bundlers take a missing package under a handler for a failure at run time, and
 * not for one of the build.
 */
export function rethrow(error: unknown): never {
  throw error;
}
