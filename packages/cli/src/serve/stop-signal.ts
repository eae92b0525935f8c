/** Waiting for the request to stop. */

/** Settles with the first SIGINT or SIGTERM; a second one ends the process. */
export function stopSignal(onFirst: () => void): Promise<void> {
  return new Promise((resolve) => {
    let isStopping = false;
    const stop = (signal: NodeJS.Signals): void => {
      if (isStopping) process.exit(signal === 'SIGTERM' ? 143 : 130);
      isStopping = true;
      onFirst();
      resolve();
    };
    process.on('SIGINT', stop).on('SIGTERM', stop);
  });
}
