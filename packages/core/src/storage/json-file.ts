/** JSON files of a `WeightSource`. */
import { OptionError } from '../errors.js';
import type { WeightSource } from './weight-source.js';
import { escapeText } from './escape-text.js';

/** Options of `readJsonFile`. */
export interface JsonFileOptions {
  /** A longer file is refused. @default 1 MiB */
  readonly maximumBytes?: number;
}

/**
 * The value in a JSON file.
 *
 * @throws OptionError naming the file if it is too long or no JSON.
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
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new OptionError(`${escapeText(path)}: is not JSON`, { path, cause });
  }
}
