/** The Meissonic teacher as a plugin. */
import { definePlugin, type DimoPlugin, type TeacherPlugin } from '@dimo/core';
import {
  defineFromFiles,
  inspectConditions,
  inspectModel,
  readReleasedGenerator,
  readTeacher,
  streamTeacherFiles,
} from './files.js';
import { recognizeRelease } from './release/recognize.js';
import { defineMeissonic, meissonicName } from './teacher-config.js';

/** Meissonic teachers: configuration as `MeissonicConfig`, folders of ours or in the public layout. */
export const meissonicTeacher: TeacherPlugin = {
  name: meissonicName,
  description: 'Meissonic: text-to-image masked transformer with VQ-VAE and CLIP text encoder',
  define: (config) => defineMeissonic(config),
  defineFrom: defineFromFiles,
  load: readTeacher,
  files: streamTeacherFiles,
  recognize: recognizeRelease,
  inspect: inspectModel,
  inspectConditions,
  loadReleasedGenerator: readReleasedGenerator,
};

/** Plugin with the teacher `meissonic`. */
export const meissonicPlugin: DimoPlugin = definePlugin({
  contract: 2,
  name: '@dimo/teacher-meissonic',
  teachers: [meissonicTeacher],
});
