/** The file that names the plugin of a teacher's folder, beside the plugin's own files. */
import { isRecord } from '../options/check-options.js';
import { OptionError } from '../errors.js';
import { escapeText } from '../text/escape-text.js';
import { readJsonFile } from '../storage/json-file.js';
import type { WeightSource } from '../storage/weight-source.js';

/** Name of the file. */
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
