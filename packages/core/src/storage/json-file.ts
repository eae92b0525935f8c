/** JSON files of a `WeightSource`. */
import { OptionError } from '../errors.js';
import type { WeightSource } from '../plugin.js';
import { decodeText } from './decode-text.js';
import { escapeText } from './escape-text.js';

/** Options of `readJsonFile`. */
export interface JsonFileOptions {
  /** A longer file is refused. @default 1 MiB */
  readonly maximumBytes?: number;
}

/**
 * The value in a JSON file.
 *
 * @throws OptionError naming the file if it is too long, not UTF-8 or no JSON.
 */
export async function readJsonFile(
  source: WeightSource,
  name: string,
  options: JsonFileOptions = {},
): Promise<unknown> {
  const { maximumBytes = 2 ** 20 } = options;
  const path = `${source.location}/${name}`;
  const bytes = await source.read(name);
  if (bytes.length > maximumBytes)
    throw new OptionError(`${escapeText(path)}: has ${bytes.length} bytes, at most ${maximumBytes} are allowed`, {
      path,
    });
  const text = decodeText(bytes, path);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new OptionError(`${escapeText(path)}: is not JSON`, { path, cause });
  }
}
