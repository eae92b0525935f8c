/** The folder of a teacher: the files of its plugin, and core's `teacher.json`, which names the plugin. */
import {
  streamSafetensors,
  teacherDescriptionName,
  type FileContent,
  type Teacher,
  type TeacherDescription,
  type TeacherPlugin,
} from '@dimo/core';

export { teacherDescriptionName };

/** Content of a teacher's folder: the files of its plugin, and the description that names it. */
export function teacherFolderFiles(
  teacher: Teacher,
  plugin: TeacherPlugin,
  training: Readonly<Record<string, unknown>>,
): Record<string, FileContent> {
  const description: TeacherDescription = {
    format: 'dimo-teacher',
    version: 1,
    teacher: { name: plugin.name, config: teacher.config },
    training,
  };
  const metadata = { format: 'pt' };
  return {
    ...(plugin.files?.(teacher) ?? {
      'model.safetensors': streamSafetensors(teacher.weights, { metadata }),
      ...(teacher.decoderWeights
        ? { 'decoder.safetensors': streamSafetensors(teacher.decoderWeights, { metadata }) }
        : {}),
    }),
    [teacherDescriptionName]: new TextEncoder().encode(`${JSON.stringify(description, null, 2)}\n`),
  };
}
