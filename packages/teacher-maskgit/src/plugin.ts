/** The MaskGIT teacher as a plugin. */
import { definePlugin, officialDistillation, type DimoPlugin, type TeacherPlugin } from '@dimo/core';
import { inspectTeacher, readTeacher, streamTeacherFiles } from './files.js';
import { recognizeMaskgit } from './recognize.js';
import { inspectReleasedGenerator, readReleasedGenerator } from './released-generator.js';
import { defineMaskgit, maskgitName } from './teacher-config.js';

/** MaskGIT teachers: configuration and weight files as `MaskgitConfig` and `teacherFiles` describe them. */
export const maskgitTeacher: TeacherPlugin = {
  name: maskgitName,
  description: 'MaskGIT: class-conditional masked transformer with a VQGAN or patch-VQ tokenizer',
  define: defineMaskgit,
  // Names of classes may be given otherwise; the tokenizer is the one that made the tokens.
  completeConfig: (config, { classNames, tokenizer }) => ({
    ...(classNames ? { classNames } : {}),
    ...config,
    ...(tokenizer ? { tokenizer } : {}),
  }),
  load: readTeacher,
  files: streamTeacherFiles,
  recognize: recognizeMaskgit,
  inspect: (config, source, teacher) =>
    teacher ? inspectReleasedGenerator(config, { generator: source, teacher }) : inspectTeacher(config, source),
  loadReleasedGenerator: readReleasedGenerator,
  officialDistillation,
};

/** Plugin with the teacher `maskgit`. */
export const maskgitPlugin: DimoPlugin = definePlugin({
  contract: 2,
  name: '@dimo/teacher-maskgit',
  teachers: [maskgitTeacher],
});
