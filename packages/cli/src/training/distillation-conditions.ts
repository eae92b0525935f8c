/** Conditions of a distillation: those of the teacher, or prompts from a text file, and a negative prompt. */
import { readFileChecked } from '@dimo/backend-node';
import {
  checkTexts,
  decodeText,
  DimoError,
  drawnFromTexts,
  gatherRows,
  OptionError,
  prepareTeacher,
  sampleStream,
  sha256Hex,
  textLines,
  type Engine,
  type HostTree,
  type Teacher,
  type TextLine,
} from '@dimo/core';
import type { DimoConfig } from '../config/schema.js';

/** A teacher whose conditions are ready, and what its guidance leads away from. */
export interface DistillationConditions {
  readonly teacher: Teacher;
  /** Without batch axis; absent for the null condition. */
  readonly negativeCondition?: HostTree;
  /** What of it changes the numbers of a run. */
  readonly identity: Readonly<Record<string, unknown>>;
  /** First prompts of the file, for samples while distilling. */
  readonly prompts: readonly string[];
  dispose(): Promise<void>;
}

/** Prompts that the teacher understands, each of them checked. */
export interface DistillationPrompts {
  readonly lines: readonly TextLine[];
  /** False where the teacher can check them on an engine alone. */
  readonly isChecked: boolean;
  /** What a person should know about them. */
  readonly notes: readonly string[];
}

/** A million long prompts. */
const maximumPromptBytes = 2 ** 29;

/**
 * Reads the prompts that the configuration names and checks every one of them, so that none can end a run that draws it
 * after an hour.
 *
 * @throws OptionError naming file and line, if the file is not UTF-8 or the teacher does not understand a prompt.
 */
export async function readDistillationPrompts(
  { distill }: Pick<DimoConfig, 'distill'>,
  { conditions, prepareConditions }: Pick<Teacher, 'conditions' | 'prepareConditions'>,
): Promise<DistillationPrompts> {
  const { prompts: path, negativePrompt } = distill;
  const lines = path === undefined ? [] : textLines(decodeText(await readPrompts(path), path));
  if (path !== undefined && lines.length === 0)
    throw new OptionError(`${path}: expected one prompt per line, found no line that is not blank`, { path });
  if (prepareConditions && !conditions.check) return { lines, isChecked: false, notes: [] };
  const cut = path === undefined ? [] : await checkTexts(conditions, lines, path);
  const negative = negativePrompt === undefined ? [] : [{ line: 1, text: negativePrompt }];
  const cutNegative = await checkTexts(conditions, negative, 'distill.negativePrompt');
  return {
    lines,
    isChecked: true,
    notes: [
      ...(cut.length > 0 ? [cutNote(cut, lines.length, path!)] : []),
      ...(cutNegative.length > 0
        ? ['the negative prompt is longer than the model reads: only its beginning counts']
        : []),
    ],
  };
}

/** How many prompts are longer than the model reads, and where the first of them is. */
export function cutNote(cut: readonly TextLine[], count: number, path: string): string {
  const are = cut.length === 1 ? 'is' : 'are';
  return `${cut.length} of ${count} prompts ${are} longer than the model reads, the first in ${path}:${cut[0]!.line}: only their beginning counts`;
}

/**
 * Makes the conditions that the configuration asks for.
 *
 * @throws OptionError if the teacher has nothing to draw conditions from.
 */
export async function distillationConditions(
  { distill }: Pick<DimoConfig, 'distill'>,
  teacher: Teacher,
  { lines, isChecked }: Pick<DistillationPrompts, 'lines' | 'isChecked'>,
  engine: Engine,
): Promise<DistillationConditions> {
  const { negativePrompt, prompts: path = 'prompts' } = distill;
  const texts = lines.map(({ text }) => text);
  const prepared = await prepareTeacher(engine, teacher);
  try {
    const { conditions } = prepared.teacher;
    if (!isChecked) await checkTexts(conditions, lines, path);
    const drawn = texts.length > 0 ? drawnFromTexts(conditions, texts) : conditions;
    // A teacher that has nothing to draw from says so here, before anything is trained.
    await drawn.sample(sampleStream(0, 0, 1, 'distill/conditions'), 1);
    const negative = negativePrompt === undefined ? undefined : await conditions.parse([negativePrompt]);
    return {
      teacher: { ...prepared.teacher, conditions: drawn },
      ...(negative ? { negativeCondition: firstRow(negative) } : {}),
      identity: texts.length > 0 ? { prompts: await sha256Hex(new TextEncoder().encode(texts.join('\n'))) } : {},
      prompts: texts,
      dispose: () => prepared.dispose(),
    };
  } catch (error) {
    await prepared.dispose();
    throw error;
  }
}

async function readPrompts(path: string): Promise<Uint8Array> {
  try {
    return await readFileChecked(path, maximumPromptBytes);
  } catch (cause) {
    if (!DimoError.isInstance(cause)) throw cause;
    throw new OptionError(`distill.prompts: ${cause.message}`, {
      path,
      cause,
      hint: 'name a text file, one prompt a line',
    });
  }
}

/** The first condition, without its batch axis. */
function firstRow(condition: HostTree): HostTree {
  return Object.fromEntries(
    Object.entries(condition).map(([name, tensor]) => [
      name,
      { ...gatherRows(tensor, [0]), shape: tensor.shape.slice(1) },
    ]),
  );
}
