/** Content of files that is made part by part while it is written, so that it never lies in memory as a whole. */

/** Bytes that come one part after another. */
export interface ByteStream {
  /** Bytes of all parts together. */
  readonly length: number;
  /** The parts from the first on, at every call. Each is borrowed until the next is asked for. */
  parts(): AsyncIterable<Uint8Array>;
}

/** What a file is written from. */
export type FileContent = Uint8Array | ByteStream;

/** Any content part by part. */
export async function* contentParts(content: FileContent): AsyncGenerator<Uint8Array, void, undefined> {
  if (content instanceof Uint8Array) yield content;
  else yield* content.parts();
}

/** All bytes, in memory together. */
export async function contentBytes(content: FileContent): Promise<Uint8Array> {
  if (content instanceof Uint8Array) return content;
  const bytes = new Uint8Array(content.length);
  let written = 0;
  for await (const part of content.parts()) {
    bytes.set(part, written);
    written += part.length;
  }
  return bytes;
}

/** A SHA-256 of bytes that come one part after another. */
export interface Sha256Stream {
  update(bytes: Uint8Array): void;
  /** 64 lowercase hexadecimal digits; ends it. */
  digest(): string;
}
