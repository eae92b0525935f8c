/**
 * Decoded pictures on the disk: a file of records, uint8 pixels one picture after the other, and an index beside it. Both are
 * complete or absent; the index is written last.
 */
import { DimoError } from '@dimo/core';
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, basename, join } from 'node:path';

/** Decoded pictures. */
export interface RecordFile {
  readonly path: string;
  readonly recordBytes: number;
  readonly numRecords: number;
}

/** Adds records to a file that is being made. */
export interface RecordWriter {
  append(record: Uint8Array): Promise<void>;
}

/** What the index says beside the number of records. */
export type IndexFacts = Readonly<Record<string, unknown>>;

/** Records are written together up to this size. */
const writeBytes = 2 ** 22;
const partial = '.partial-';

/**
 * Makes a file of records with its index.
 *
 * @param path - of the records; the index is `<path>.json`.
 * @param fill - appends the records and says what the index is to hold.
 * @returns the facts, with `sha256` of all records.
 */
export async function makeRecordFile(
  path: string,
  recordBytes: number,
  fill: (writer: RecordWriter) => Promise<IndexFacts>,
): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await removeAbandoned(path);
  const temporary = `${path}${partial}${process.pid}-${randomUUID()}`;
  const file = await open(temporary, 'wx');
  let isOpen = true;
  try {
    const hash = createHash('sha256');
    let numRecords = 0;
    let pending: Uint8Array[] = [];
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(pending);
      pending = [];
      hash.update(bytes);
      await file.appendFile(bytes);
    };
    const facts = await fill({
      async append(record) {
        pending.push(record);
        numRecords++;
        if (pending.length * recordBytes >= writeBytes) await flush();
      },
    });
    await flush();
    await file.sync();
    await file.close();
    isOpen = false;
    await rename(temporary, path);
    const index = { ...facts, recordBytes, numRecords, sha256: hash.digest('hex') };
    const temporaryIndex = `${temporary}.json`;
    await writeFile(temporaryIndex, JSON.stringify(index));
    await rename(temporaryIndex, `${path}.json`);
  } catch (error) {
    if (isOpen) await file.close();
    await rm(temporary, { force: true });
    await rm(`${temporary}.json`, { force: true });
    throw error;
  }
}

/** Removes what processes that are gone have left half done: it would fill the disk. */
async function removeAbandoned(path: string): Promise<void> {
  const folder = dirname(path);
  for (const name of await readdir(folder)) {
    if (!name.startsWith(basename(path) + partial)) continue;
    const pid = Number(name.slice((basename(path) + partial).length).split('-')[0]);
    if (!isRunning(pid)) await rm(join(folder, name), { force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** The index of a complete file of records; undefined if there is none, or the file is not the one that it describes. */
export async function readIndex(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const index = JSON.parse(await readFile(`${path}.json`, 'utf8')) as Record<string, unknown>;
    const { size } = await stat(path);
    return size === Number(index['numRecords']) * Number(index['recordBytes']) ? index : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Records by number, one after the other. The file is opened for each call, so that nothing has to be closed.
 *
 * @throws DimoError with code `io` if the file is gone or cut.
 */
export async function readRecords({ path, recordBytes }: RecordFile, numbers: ArrayLike<number>): Promise<Uint8Array> {
  const data = new Uint8Array(numbers.length * recordBytes);
  const lost = (cause?: unknown): DimoError =>
    new DimoError('io', 'the cache of decoded pictures was removed or cut while it was in use', {
      path,
      hint: 'start again: it is made anew',
      cause,
    });
  const file = await open(path).catch((cause: unknown) => Promise.reject(lost(cause)));
  try {
    for (let first = 0; first < numbers.length;) {
      // Neighbours on the disk in one go.
      let end = first + 1;
      while (end < numbers.length && numbers[end] === numbers[end - 1]! + 1) end++;
      const length = (end - first) * recordBytes;
      const { bytesRead } = await file.read(data, first * recordBytes, length, numbers[first]! * recordBytes);
      if (bytesRead !== length) throw lost();
      first = end;
    }
  } finally {
    await file.close();
  }
  return data;
}
