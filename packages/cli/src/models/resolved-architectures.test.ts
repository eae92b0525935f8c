/** A teacher's configuration follows from its data as its plugin says, whatever the plugin is called. */
import { createRegistry, definePlugin, int32, type Dataset, type TeacherPlugin } from '@dimo/core';
import { maskgitTeacher } from '@dimo/teacher-maskgit';
import { expect, it } from 'vitest';
import { loadConfig } from '../config/load.js';
import { withArchitectures } from './resolved-architectures.js';

const empty = { count: 0, pixels: new Uint8Array(), labels: int32([0], []) };
const shapes: Dataset = {
  name: 'shapes',
  imageShape: [16, 16, 1],
  classNames: ['square', 'disc'],
  train: empty,
  test: empty,
};

function registryWith(teacher: TeacherPlugin) {
  const datasets = [{ name: 'shapes', description: 'shapes', load: () => Promise.resolve(shapes) }];
  return createRegistry([definePlugin({ contract: 2, name: 'test', teachers: [teacher], datasets })]);
}

async function resolved(teacher: TeacherPlugin) {
  const { config } = await loadConfig({});
  return withArchitectures(
    { ...config, dataset: 'shapes', teacher: { plugin: teacher.name, config: {} } },
    registryWith(teacher),
  );
}

it('a plugin of another name completes its configuration from dataset and tokenizer', async () => {
  const { train } = await resolved({ ...maskgitTeacher, name: 'another' });
  expect(train.teacher.config).toMatchObject({
    classNames: ['square', 'disc'],
    tokenizer: { kind: 'patch-vq', imageShape: [16, 16, 1] },
    transformer: { numClasses: 2 },
  });
});

it('a plugin that completes nothing gets the configuration as it is given', async () => {
  let given: unknown;
  const { completeConfig: _, ...plain } = maskgitTeacher;
  await resolved({
    ...plain,
    name: 'plain',
    define(config) {
      given = config;
      return maskgitTeacher.define(config);
    },
  });
  expect(given).toEqual({});
});
