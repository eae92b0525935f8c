/** JSON and text files of a `WeightSource`. Their size is looked at before they are read, their items before they are made. */
import { OptionError } from '../errors.js';
import { decodeText } from '../text/decode-text.js';
import { escapeText } from '../text/escape-text.js';
import { describeForeignFile } from './foreign-file.js';
import { openWeightFile, type WeightSource } from './weight-source.js';

/** Options of `readJsonFile`. */
export interface JsonFileOptions {
  /** A longer file is refused. @default 1 MiB */
  readonly maximumBytes?: number;
}

/** Arrays and objects within one another. */
const maximumDepth = 64;
/** Items of all arrays and objects together; a vocabulary has some 50,000. */
const maximumItems = 2_000_000;
/** Lines of a text file. */
const maximumLines = 1_000_000;

/**
 * The value in a JSON file.
 *
 * @throws OptionError naming the file if it is too long, no JSON, too deep or has too many items.
 */
export async function readJsonFile(
  source: WeightSource,
  name: string,
  { maximumBytes = 2 ** 20 }: JsonFileOptions = {},
): Promise<unknown> {
  const path = `${source.location}/${name}`;
  return parseJson(await readSmallFile(source, name, maximumBytes), path);
}

/**
 * The lines of a text file in UTF-8, without their ends.
 *
 * @throws OptionError naming the file if it is too long or no text.
 */
export async function readTextLines(
  source: WeightSource,
  name: string,
  { maximumBytes = 2 ** 24 }: JsonFileOptions = {},
): Promise<string[]> {
  const path = `${source.location}/${name}`;
  const bytes = await readSmallFile(source, name, maximumBytes);
  const foreign = describeForeignFile(bytes.subarray(0, 4096), bytes.length);
  // Any text is text to it: what says that this is none of ours is a pointer, a page, an archive.
  if (foreign && !/^(?:text|JSON)/.test(foreign.what))
    throw new OptionError(`${escapeText(path)}: is ${foreign.what}`, { path, hint: foreign.hint });
  let numLines = 1;
  for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1))
    if (++numLines > maximumLines)
      throw new OptionError(`${escapeText(path)}: has more than ${maximumLines} lines`, { path });
  return readableText(bytes, path).split(/\r?\n/);
}

/**
 * The value of JSON text.
 *
 * @param bytes - UTF-8.
 * @param path - the file, for messages.
 * @throws OptionError naming the file if it is no JSON, too deep or has too many items.
 */
export function parseJson(bytes: Uint8Array, path: string): unknown {
  const place = escapeText(path);
  const text = readableText(bytes, path);
  const size = jsonSize(text);
  if (size.depth > maximumDepth)
    throw new OptionError(`${place}: is nested ${size.depth} deep, at most ${maximumDepth} are allowed`, { path });
  if (size.items > maximumItems)
    throw new OptionError(`${place}: has ${size.items} items, at most ${maximumItems} are allowed`, { path });
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const foreign = describeForeignFile(bytes.subarray(0, 4096), bytes.length);
    if (foreign && !foreign.what.startsWith('JSON'))
      throw new OptionError(`${place}: is not JSON: it is ${foreign.what}`, { path, hint: foreign.hint, cause });
    const isCut = size.isOpen;
    throw new OptionError(`${place}: is not JSON${isCut ? ': it ends in the middle' : ''}`, {
      path,
      hint: isCut ? 'the download or copy is incomplete; fetch the file again' : undefined,
      cause,
    });
  }
}

/**
 * A file that is read whole, after its length was looked at.
 *
 * @throws OptionError naming the file if it is longer than `maximumBytes`.
 */
export async function readSmallFile(source: WeightSource, name: string, maximumBytes: number): Promise<Uint8Array> {
  const path = `${source.location}/${name}`;
  const check = (length: number): void => {
    if (length > maximumBytes)
      throw new OptionError(`${escapeText(path)}: has ${length} bytes, at most ${maximumBytes} are allowed`, { path });
  };
  if (!source.open) {
    const bytes = await source.read(name, maximumBytes);
    check(bytes.length);
    return bytes;
  }
  const file = await openWeightFile(source, name);
  try {
    check(file.length);
    return await file.read(0, file.length);
  } finally {
    await file.close();
  }
}

/** The text of a file, or what stands there instead: an archive, a picture, weights. */
function readableText(bytes: Uint8Array, path: string): string {
  try {
    return decodeText(bytes, path);
  } catch (error) {
    const foreign = describeForeignFile(bytes.subarray(0, 4096), bytes.length);
    if (!foreign || /^(?:text|JSON)/.test(foreign.what)) throw error;
    throw new OptionError(`${escapeText(path)}: is ${foreign.what}`, { path, hint: foreign.hint, cause: error });
  }
}

/** How deep and large the value of a JSON text is; it need not be well-formed. */
function jsonSize(text: string): { depth: number; items: number; isOpen: boolean } {
  let [depth, deepest, items] = [0, 0, 0];
  let isInString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (isInString) {
      if (code === 0x5c) i++;
      else if (code === 0x22) isInString = false;
    } else if (code === 0x22) isInString = true;
    else if (code === 0x5b || code === 0x7b) {
      items++;
      deepest = Math.max(deepest, ++depth);
    } else if (code === 0x5d || code === 0x7d) depth--;
    else if (code === 0x2c) items++;
  }
  return { depth: deepest, items, isOpen: depth > 0 || isInString || text.trim() === '' };
}
