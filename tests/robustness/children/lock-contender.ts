/**
 * Competes for run folders: for each line `<start in ms since 1970> <folder>` on stdin, waits until then, tries to lock
 * and prints `won`, `locked <message>` or `failed <error>`. Locks are kept until the process ends.
 */
import { acquireRunLock } from '@dimo/backend-node';
import { DimoError } from '@dimo/core';
import { createInterface } from 'node:readline';

for await (const line of createInterface({ input: process.stdin })) {
  const space = line.indexOf(' ');
  const start = Number(line.slice(0, space));
  // Busy waiting: all contenders leave it within microseconds of each other.
  while (Date.now() < start);
  try {
    await acquireRunLock(line.slice(space + 1));
    console.log('won');
  } catch (error) {
    console.log(
      DimoError.isInstance(error) && error.code === 'locked' ? `locked ${error.message}` : `failed ${String(error)}`,
    );
  }
}
