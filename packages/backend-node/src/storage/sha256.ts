/** SHA-256 of content that need not be in memory as a whole. */
import { contentParts, type FileContent, type Sha256Stream } from '@dimo/core';
import { createHash } from 'node:crypto';
import { openFileChecked } from './files.js';

/** Bytes of a file that are read at once. */
const partBytes = 2 ** 22;

/** Begins a SHA-256. */
export function sha256(): Sha256Stream {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest('hex') };
}

/** SHA-256 of content, part by part: 64 lowercase hexadecimal digits. */
export async function sha256OfContent(content: FileContent): Promise<string> {
  const hash = sha256();
  for await (const part of contentParts(content)) hash.update(part);
  return hash.digest();
}

/** SHA-256 of a file of this machine. @throws DimoError with code `io` if it cannot be read or changes meanwhile. */
export async function sha256OfFile(path: string): Promise<string> {
  const file = await openFileChecked(path);
  const hash = sha256();
  try {
    for (let begin = 0; begin < file.length; begin += partBytes)
      hash.update(await file.read(begin, Math.min(file.length, begin + partBytes)));
  } finally {
    await file.close();
  }
  return hash.digest();
}
