/** `--set` of `dimo import`: settings of a model that its files do not hold. */
import { OptionError } from '@dimo/core';
import { readYamlValue } from '../config/yaml-source.js';

/**
 * The settings as one object.
 *
 * @param texts - `transformer.heads=8`; values are read as YAML.
 * @throws OptionError for a text without `=` or a key that is none.
 */
export function parseImportSettings(texts: readonly string[]): Record<string, unknown> {
  const root: Record<string, unknown> = {};
  for (const text of texts) {
    const at = text.indexOf('=');
    const path = text.slice(0, at).split('.');
    if (at < 1 || path.length > 8 || path.some((key) => key === '' || key === '__proto__'))
      throw new OptionError(`--set ${text.slice(0, 200)} must be a key and a value`, {
        hint: 'for example --set transformer.heads=8',
      });
    let section = root;
    for (const key of path.slice(0, -1)) {
      const child = Object.hasOwn(section, key) ? section[key] : undefined;
      if (typeof child === 'object' && child !== null && !Array.isArray(child))
        section = child as Record<string, unknown>;
      else section = section[key] = {} as Record<string, unknown>;
    }
    section[path.at(-1)!] = readYamlValue(text.slice(at + 1));
  }
  return root;
}
