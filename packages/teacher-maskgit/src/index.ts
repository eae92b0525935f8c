export { classConditions, type ClassConditionsOptions } from './class-conditions.js';
export { maskgitConfigKeys } from './config-keys.js';
export { readTeacher, teacherFileNames, teacherFiles, type TeacherFileOptions } from './files.js';
export { imagenet256Config } from './imagenet.js';
export { maskgitPlugin, maskgitTeacher } from './plugin.js';
export { defineMaskgit, type MaskgitConfig, type MaskgitDefinition } from './teacher-config.js';
export { type MaskTransformerConfig } from './transformer/config.js';
export { maskTransformer } from './transformer/mask-transformer.js';
