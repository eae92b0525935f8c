import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { findPreset, presetFolder, presets } from './index.js';

describe('the presets', () => {
  it.each(Object.values(presets))(
    '$name lists what lies in its folder: else run scripts/write-preset-index.mjs',
    (preset) => {
      const folder = fileURLToPath(presetFolder(preset));
      const found = readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && !entry.name.endsWith('.md'))
        .map((entry) => path.join(entry.parentPath, entry.name));
      const files = found.map((place) => {
        const bytes = readFileSync(place);
        const name = path.relative(folder, place).split(path.sep).join('/');
        return [name, { bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }] as const;
      });
      expect(
        Object.fromEntries(
          Object.entries(preset.files).map(([name, { bytes, sha256 }]) => [name, { bytes, sha256 }] as const),
        ),
      ).toEqual(Object.fromEntries(files));
      for (const [name, { url }] of Object.entries(preset.files)) expect(url).toBe(presetFolder(preset) + name);
    },
  );

  it.each(Object.values(presets))('$name has a teacher, and a generator of the same plugin', (preset) => {
    expect(Object.keys(preset.files)).toEqual(
      expect.arrayContaining(['config.json', 'transformer.safetensors', 'generator/model.safetensors']),
    );
    const description = JSON.parse(readFileSync(new URL(preset.files['generator/config.json']!.url), 'utf8')) as {
      teacher: { name: string };
      temperature: number;
    };
    expect(description.teacher.name).toBe(preset.teacher);
    expect(description.temperature).toBeLessThan(1);
  });

  it('are found by their names, and nothing else is, not even what every object has', () => {
    for (const [name, preset] of Object.entries(presets)) expect(findPreset(name)).toBe(preset);
    expect([findPreset('constructor'), findPreset('')]).toEqual([undefined, undefined]);
  });
});
