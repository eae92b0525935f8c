/** The folder of a teacher: the files of its plugin, and `teacher.json`, which names the plugin. */
import {
  escapeText,
  OptionError,
  readJsonFile,
  writeSafetensors,
  type Teacher,
  type TeacherPlugin,
  type WeightSource,
} from '@dimo/core';

/** Name of the description in a teacher's folder, beside the plugin's own files. */
export const teacherDescriptionName = 'teacher.json';

/** Description of a teacher's folder; plain JSON. */
export interface TeacherDescription {
  readonly format: 'dimo-teacher';
  readonly version: 1;
  readonly teacher: { readonly name: string; readonly config: Readonly<Record<string, unknown>> };
  /** How it was made. Informative. */
  readonly training?: Readonly<Record<string, unknown>>;
}

/** Name and configuration of the plugin in a teacher's folder. @throws OptionError if the description is wrong */
export async function readTeacherDescription(source: WeightSource): Promise<TeacherDescription['teacher']> {
  const value = await readJsonFile(source, teacherDescriptionName);
  if (isRecord(value) && value['format'] === 'dimo-teacher' && value['version'] === 1 && isRecord(value['teacher'])) {
    const { name, config } = value['teacher'];
    if (typeof name === 'string' && isRecord(config)) return { name, config };
  }
  throw new OptionError(
    `${escapeText(source.location)}/${teacherDescriptionName}: must be { "format": "dimo-teacher", "version": 1, "teacher": { "name", "config" } }`,
  );
}

/** Content of a teacher's folder: the files of its plugin, and the description that names it. */
export function teacherFolderFiles(
  teacher: Teacher,
  plugin: TeacherPlugin,
  training: Readonly<Record<string, unknown>>,
): Record<string, Uint8Array> {
  const description: TeacherDescription = {
    format: 'dimo-teacher',
    version: 1,
    teacher: { name: plugin.name, config: teacher.config },
    training,
  };
  const metadata = { format: 'pt' };
  return {
    ...(plugin.files?.(teacher) ?? {
      'model.safetensors': writeSafetensors(teacher.weights, { metadata }),
      ...(teacher.decoderWeights
        ? { 'decoder.safetensors': writeSafetensors(teacher.decoderWeights, { metadata }) }
        : {}),
    }),
    [teacherDescriptionName]: new TextEncoder().encode(`${JSON.stringify(description, null, 2)}\n`),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
