/** Conditions of a distillation: those of the teacher, or prompts from a text file, and a negative prompt. */
import { readFileChecked } from '@dimo/backend-node';
import {
  DimoError,
  drawnFromTexts,
  gatherRows,
  OptionError,
  prepareTeacher,
  promptLines,
  randomStream,
  sha256Hex,
  type Engine,
  type HostTree,
  type Teacher,
} from '@dimo/core';
import type { DimoConfig } from './config/schema.js';

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

/** A million long prompts. */
const maximumPromptBytes = 2 ** 29;

/**
 * Makes the conditions that the configuration asks for.
 *
 * @throws OptionError if the teacher does not understand the prompts, or has nothing to draw conditions from.
 */
export async function distillationConditions(
  { distill }: Pick<DimoConfig, 'distill'>,
  teacher: Teacher,
  engine: Engine,
): Promise<DistillationConditions> {
  const { prompts: path, negativePrompt } = distill;
  const texts = path === undefined ? [] : promptLines(new TextDecoder().decode(await readPrompts(path)), path);
  const prepared = await prepareTeacher(engine, teacher);
  try {
    const { conditions } = prepared.teacher;
    const drawn = texts.length > 0 ? drawnFromTexts(conditions, texts) : conditions;
    // A teacher that has nothing to draw from says so here, before anything is trained.
    await drawn.sample(randomStream(0, 0, 'distill/conditions'), 1);
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
