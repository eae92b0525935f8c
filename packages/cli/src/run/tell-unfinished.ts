/** Says of runs whose results are used that they have not come to their end. */
import { unfinishedNote } from './parts.js';
import { printError } from '../output/terminal.js';

/**
 * Prints a line for each folder that is an unfinished run.
 *
 * @param names - what was named; those that are no folders are passed over.
 */
export async function tellUnfinished(
  names: readonly (string | undefined)[],
  { quiet }: { readonly quiet: boolean },
): Promise<void> {
  if (quiet) return;
  for (const name of new Set(names)) {
    const note = name === undefined ? undefined : await unfinishedNote(name);
    if (note !== undefined) printError(note);
  }
}
