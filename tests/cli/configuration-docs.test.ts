/** docs/configuration.md is what the schema says. */
import { allKeyPaths, configJsonSchema, configurationMarkdown, type SchemaNode } from '@dimo/cli';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';

const path = fileURLToPath(new URL('../../docs/configuration.md', import.meta.url));

describe('docs/configuration.md', () => {
  it('is up to date; `node scripts/write-configuration-docs.mjs` writes it', async () => {
    const expected = await format(configurationMarkdown(), { ...(await resolveConfig(path)), filepath: path });
    expect(readFileSync(path, 'utf8')).toBe(expected);
  });

  it('every key is documented', () => {
    const undocumented = allKeyPaths().filter((keys) => {
      const node = keys.reduce<SchemaNode | undefined>((at, key) => at?.properties?.[key], configJsonSchema());
      return !node?.description;
    });
    expect(undocumented).toEqual([]);
  });
});
