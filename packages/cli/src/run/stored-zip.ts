/** Zip archives of stored files, whose bytes depend on their content alone. */
import { Readable } from 'node:stream';
import { ZipFile } from 'yazl';
import { writeFileAtomically } from './folder.js';

/** A file of an archive. */
export interface ZipContent {
  readonly name: string;
  /** Its bytes, one part after the other; borrowed until the archive is written. */
  readonly parts: readonly Uint8Array[];
}

/** Writes an archive; it is there whole or not at all. @throws DimoError with code `io` */
export async function writeStoredZip(path: string, files: Iterable<ZipContent>): Promise<void> {
  const zip = new ZipFile();
  // No byte depends on when or in which time zone a file is written: the first day that an archive can tell.
  const options = { compress: false, mtime: new Date(1980, 0, 1), forceDosTimestamp: true };
  for (const { name, parts } of files) {
    const buffers = parts.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength));
    if (buffers.length === 1) zip.addBuffer(buffers[0]!, name, options);
    else {
      const size = buffers.reduce((sum, { length }) => sum + length, 0);
      zip.addReadStream(Readable.from(buffers), name, { ...options, size });
    }
  }
  const length = await new Promise<number>((resolve) =>
    zip.end({ forceZip64Format: false, comment: '' }, (...[size]: number[]) => resolve(size!)),
  );
  // Read once.
  await writeFileAtomically(path, { length, parts: () => zip.outputStream as AsyncIterable<Uint8Array> });
}
