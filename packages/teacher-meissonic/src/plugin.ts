/** The Meissonic teacher as a plugin. */
import { definePlugin, type DimoPlugin, type TeacherPlugin } from '@dimo/core';
import { defineFromFiles, inspectConditions, inspectTeacher, readTeacher, streamTeacherFiles } from './files.js';
import { officialNegativePrompt } from './clip/text-conditions.js';
import { officialMeissonicDistillation } from './official-distillation.js';
import { inspectReleasedGenerator, readReleasedGenerator } from './released-files.js';
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
  inspect: (config, source, teacher) =>
    teacher ? inspectReleasedGenerator(config, { generator: source, teacher }) : inspectTeacher(config, source),
  inspectConditions,
  loadReleasedGenerator: readReleasedGenerator,
  officialDistillation: { ...officialMeissonicDistillation, negativePrompt: officialNegativePrompt },
};

/** Plugin with the teacher `meissonic`. */
export const meissonicPlugin: DimoPlugin = definePlugin({
  contract: 2,
  name: '@dimo/teacher-meissonic',
  teachers: [meissonicTeacher],
});
