import { describe, expect, it } from 'vitest';
import { maskgitConfigKeys } from './config-keys.js';
import { defineMaskgit } from './teacher-config.js';

/** Keys of a configuration with its sections' keys. */
function keysOf(value: unknown, path = ''): string[] {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([key, child]) => keysOf(child, path === '' ? key : `${path}.${key}`));
}

describe('the described keys', () => {
  it('are those of the teacher, with the defaults that they say', () => {
    const { config } = defineMaskgit({ classNames: ['a', 'b'], sampler: {} });
    const own = [...keysOf(config['transformer'], 'transformer'), 'classNames', 'tokenizer', 'sampler'];
    expect(maskgitConfigKeys.map(({ key }) => key).sort()).toEqual(own.sort());
    const transformer = config['transformer'] as Record<string, unknown>;
    for (const { key, standard } of maskgitConfigKeys)
      if (/^[0-9.]+$/.test(standard ?? '')) expect(String(transformer[key.replace('transformer.', '')])).toBe(standard);
  });
});
