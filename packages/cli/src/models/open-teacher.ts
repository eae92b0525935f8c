/** The teacher that a released one-step generator takes its decoder and text encoder from. */
import { isHubReference } from '@dimo/backend-node';
import { DimoError, escapeText, OptionError, readTeacherDescription, type TeacherFiles } from '@dimo/core';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { resolvePart } from '../run/parts.js';
import { modelFolder, openSource, readImport } from '@dimo/pipeline';
import { recognizeModel, type ModelLayout } from './model-layout.js';
import { presetLocation } from './models.js';
import { openModel, type FetchedFiles, type ImportContext, type OpenedModel, type Said } from './open-model.js';

/** A teacher that a released generator is joined with. */
export interface OpenedTeacher extends TeacherFiles, Pick<OpenedModel, 'place' | 'fetch'> {
  /** Its folder says its configuration. */
  readonly isOwn: boolean;
}

/** A released generator and what was said of it. */
export interface GeneratorToJoin {
  readonly what: string;
  readonly layout: ModelLayout;
  readonly given: Readonly<Record<string, unknown>>;
  /** As it was named. */
  readonly teacher: string | undefined;
}

/** Settings of a generator alone: how it is sampled. */
const generatorSettings = ['tokenInit', 'temperature'];

/**
 * The teacher of a released generator: the one that is named, or the parts that lie beside its transformer.
 *
 * @throws OptionError if there is none, or one of another kind.
 */
export async function openTeacher(
  { what, layout, given, teacher }: GeneratorToJoin,
  context: ImportContext,
): Promise<OpenedTeacher> {
  const wrong = (found: string): OptionError =>
    new OptionError(
      `--teacher ${escapeText(teacher ?? what)} is ${found}, expected a teacher of the kind ${layout.teacher!.name}`,
    );
  let opened: NamedTeacher;
  if (teacher !== undefined) opened = await openNamedTeacher(teacher, context, wrong);
  else {
    const settings = Object.entries(given).filter(([key]) => !generatorSettings.includes(key));
    const said: Said = { given: Object.fromEntries(settings), as: 'teacher' };
    const beside = await openModel(what, said, context).catch((error: unknown) => {
      if (DimoError.isInstance(error)) return undefined;
      throw error;
    });
    if (beside?.layout.kind !== 'teacher') throw withoutTeacher(what, layout);
    opened = { ...beside, teacher: beside.layout.teacher };
  }
  const own = opened.teacher === undefined ? await readTeacherDescription(opened.source) : undefined;
  const { name, config } = opened.teacher ?? own!;
  if (name !== layout.teacher!.name) throw wrong('of another kind');
  return { source: opened.source, place: opened.place, fetch: opened.fetch, config, isOwn: own !== undefined };
}

function withoutTeacher(what: string, { description, kindReason }: ModelLayout): OptionError {
  return new OptionError(`${escapeText(what)} is a ${description}: the model alone, without decoder and text encoder`, {
    hint:
      'name the teacher that it was distilled from: --teacher <folder or hf:owner/repository>' +
      (kindReason === undefined ? '' : ` (taken for a generator: ${kindReason}; otherwise --as teacher)`),
  });
}

interface NamedTeacher extends Pick<OpenedModel, 'source' | 'place' | 'fetch'> {
  /** Absent for a folder of ours, which says it. */
  readonly teacher: ModelLayout['teacher'];
}

/** The teacher that `--teacher` names. */
async function openNamedTeacher(
  name: string,
  context: ImportContext,
  wrong: (what: string) => OptionError,
): Promise<NamedTeacher> {
  const { registry } = context;
  if (isHubReference(name)) {
    const opened = await openModel(name, { given: {}, as: 'teacher' }, context);
    if (opened.layout.kind !== 'teacher') throw wrong('a generator');
    return { ...opened, teacher: opened.layout.teacher };
  }
  const fetch = (): Promise<FetchedFiles> => Promise.resolve({ bytes: 0, downloaded: [] });
  const imported = await readImport(name);
  if (imported) {
    const { kind, source: place, teacher } = imported;
    if (kind !== 'teacher') throw wrong('a generator');
    return { source: await openSource(place), place, teacher, fetch };
  }
  if (presetLocation(name, registry)) throw wrong('bundled');
  if (!existsSync(name)) throw wrong('no folder of a model');
  const folder = await resolvePart(name, ['teacher']);
  const source = modelFolder(folder);
  const layout = await recognizeModel(source, registry, {}, 'teacher');
  if (!layout) throw wrong('no folder of a model');
  if (layout.kind !== 'teacher') throw wrong('a generator');
  return { source, place: resolve(folder), teacher: layout.teacher, fetch };
}
