/** Progress of files that are sent or fetched, in bytes. */
import { createProgress, formatBytes, type Progress } from './progress.js';

/** How far a transfer is. */
export interface TransferredBytes {
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/**
 * Runs a transfer with its progress shown from the first report on; what was there before counts as done.
 *
 * @param label - `fetch`, `push`.
 */
export async function withTransferProgress<T>(
  { label, quiet }: { readonly label: string; readonly quiet: boolean },
  transfer: (onProgress: (bytes: TransferredBytes) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await transfer(({ doneBytes, totalBytes }) => {
      progress ??= createProgress({
        label,
        numSteps: totalBytes,
        firstStep: doneBytes,
        // A step is a byte.
        batchSize: 1e-6,
        unit: 'MB/s',
        formatStep: formatBytes,
        everySeconds: 5,
        quiet,
      });
      progress.update({ step: doneBytes, numbers: [] });
    });
  } finally {
    progress?.finish();
  }
}
