/** What a name means where the plugin is named as well. */
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { findTeacher, presetLocation } from './models.js';
import { loadRegistry } from '../project/plugins.js';

it('a preset is found by name and by folder, with and without its plugin', async () => {
  const registry = await loadRegistry([], fileURLToPath(new URL('.', import.meta.url)));
  const { folder, plugin } = presetLocation('mnist', registry)!;
  for (const settings of [
    { source: 'mnist', config: {} },
    { source: 'mnist', plugin: plugin.name, config: {} },
    { source: folder, plugin: plugin.name, config: {} },
  ]) {
    const { teacher, name } = await findTeacher(settings, registry);
    expect(name).toBe(settings.source);
    expect(teacher.decoder?.codebookSize).toBeGreaterThan(0);
    expect(Object.keys(teacher.weights).length).toBeGreaterThan(0);
  }
});
