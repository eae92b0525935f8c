/** The teachers of this project, each loaded when a model asks for it. */
import type { TeacherPlugins } from './model/read-model.js';

/** Teacher plugins by name. */
export const bundledTeachers: TeacherPlugins = {
  maskgit: async () => (await import('@dimo/teacher-maskgit')).maskgitTeacher,
  'emoji-meissonic': async () => (await import('@dimo/teacher-words')).wordsTeacher,
  meissonic: async () => (await import('@dimo/teacher-meissonic')).meissonicTeacher,
};
