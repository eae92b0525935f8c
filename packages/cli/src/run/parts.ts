/** What a run folder holds besides its checkpoints, so that the folder stands for its result wherever that is asked for. */
import { pathInside, readFileChecked } from '@dimo/backend-node';
import { generatorFileNames, OptionError, teacherDescriptionName } from '@dimo/core';
import { existsSync, lstatSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { resumeCommand } from '../flags/resume-command.js';
import { readRunConfig, runConfigName } from './folder.js';

/** What a run makes. */
export type RunPart = 'generator' | 'teacher' | 'tokenizer';

/** The file without which the folder of a part is none; written last. */
const descriptions: Readonly<Record<RunPart, string>> = {
  generator: generatorFileNames.description,
  teacher: teacherDescriptionName,
  tokenizer: 'config.json',
};

/** The command that makes a part, and where its number of steps is in the configuration of a run. */
const origins: Readonly<Record<RunPart, { readonly command: string; readonly steps: readonly string[] }>> = {
  generator: { command: 'distill', steps: ['distill', 'numSteps'] },
  teacher: { command: 'train teacher', steps: ['train', 'teacher', 'numSteps'] },
  tokenizer: { command: 'train tokenizer', steps: ['train', 'tokenizer', 'numSteps'] },
};

/** True for a folder that one of the training commands made. */
export function isRunFolder(folder: string): boolean {
  // A link that leads nowhere is an entry too: what reads it says so.
  const isThere = (name: string): boolean => lstatSync(join(folder, name), { throwIfNoEntry: false }) !== undefined;
  return isThere(runConfigName) && isThere('checkpoints');
}

/** Folder of a part of a run; undefined if the folder is no run or the run has no such part. */
export function partOfRun(folder: string, part: RunPart): string | undefined {
  const path = join(folder, part);
  return isRunFolder(folder) && existsSync(join(path, descriptions[part])) ? path : undefined;
}

/** The first of the parts that a run has; the folder itself if it is no run. @throws OptionError if it has none of them */
export async function resolvePart(folder: string, parts: readonly RunPart[]): Promise<string> {
  if (!isRunFolder(folder)) return folder;
  for (const part of parts) {
    if (partOfRun(folder, part) !== undefined) return pathInside(folder, part);
  }
  throw await withoutPart(folder, parts[0]!);
}

/** What to say of a run that lacks what it was named for. */
export async function withoutPart(folder: string, wanted: RunPart): Promise<OptionError> {
  const others = (Object.keys(descriptions) as RunPart[]).filter((part) => partOfRun(folder, part) !== undefined);
  if (others.length > 0)
    return new OptionError(`${folder} is a run that made a ${others.join(' and a ')}, no ${wanted}`, { path: folder });
  const command = (await commandOf(folder)) ?? origins[wanted].command;
  const newest = await newestStep(folder);
  return new OptionError(
    newest === undefined
      ? `${folder} is a run without a result: it has no checkpoint yet`
      : `${folder} is a run that has not written its result yet; its newest checkpoint is of step ${newest}`,
    {
      path: folder,
      hint: `a run writes it when it ends or is stopped: ${resumeCommand(command, folder, { file: undefined, settings: [], plugins: [] })}`,
    },
  );
}

/** Where a run stands. */
export interface RunState {
  /** `distill`, as the run's own configuration says. */
  readonly command?: string;
  readonly newestCheckpoint?: number;
  readonly numSteps?: number;
}

/** Where a run stands, from its configuration and the names of its checkpoints. */
export async function runState(folder: string): Promise<RunState> {
  const command = await commandOf(folder);
  const newest = await newestStep(folder);
  const part = (Object.keys(origins) as RunPart[]).find((name) => origins[name].command === command);
  const numSteps = part && (await plannedSteps(folder, part));
  return {
    ...(command === undefined ? {} : { command }),
    ...(newest === undefined ? {} : { newestCheckpoint: newest }),
    ...(numSteps === undefined ? {} : { numSteps }),
  };
}

/** A line about a run that has not come to its end, for whoever uses its result; undefined for other folders. */
export async function unfinishedNote(folder: string): Promise<string | undefined> {
  if (!isRunFolder(folder)) return undefined;
  const { command, newestCheckpoint, numSteps } = await runState(folder);
  if (newestCheckpoint === undefined || numSteps === undefined || newestCheckpoint >= numSteps) return undefined;
  const part = (Object.keys(origins) as RunPart[]).find((name) => origins[name].command === command)!;
  const step = await stepOfPart(folder, part);
  const older = step !== undefined && step < newestCheckpoint ? `, older than its newest checkpoint` : '';
  return `note: the run ${folder} is unfinished (step ${newestCheckpoint} of ${numSteps}); its ${part} is of step ${step ?? 'unknown'}${older}`;
}

async function commandOf(folder: string): Promise<string | undefined> {
  const text = await textOf(join(folder, runConfigName));
  const command = /^# Resolved configuration of this run \(dimo ([a-z -]+)\)/.exec(text ?? '')?.[1];
  return command?.startsWith('demo') ? 'distill' : command;
}

async function plannedSteps(folder: string, part: RunPart): Promise<number | undefined> {
  let value: unknown = await readRunConfig(folder).catch(() => undefined);
  for (const key of origins[part].steps) value = (value as Record<string, unknown> | undefined)?.[key];
  return typeof value === 'number' ? value : undefined;
}

/** Step that a part was written at, from its description. */
async function stepOfPart(folder: string, part: RunPart): Promise<number | undefined> {
  const text = await textOf(join(folder, part, descriptions[part]), folder);
  try {
    const { training } = JSON.parse(text ?? '') as { training?: { steps?: unknown } };
    return typeof training?.steps === 'number' ? training.steps : undefined;
  } catch {
    return undefined;
  }
}

/** The engine that a run's newest checkpoint was computed with; undefined if that cannot be read. */
export async function engineOfRun(folder: string): Promise<string | undefined> {
  const newest = await newestStep(folder);
  if (newest === undefined) return undefined;
  try {
    const text = await textOf(join(folder, 'checkpoints', `step-${newest}`, 'state.json'), folder);
    const { identity } = JSON.parse(text ?? '') as { identity?: { engine?: unknown } };
    return typeof identity?.engine === 'string' ? identity.engine : undefined;
  } catch {
    return undefined;
  }
}

async function newestStep(folder: string): Promise<number | undefined> {
  const names = await readdir(join(folder, 'checkpoints')).catch(() => []);
  const steps = names.flatMap((name) => (/^step-[0-9]{1,15}$/.test(name) ? [Number(name.slice(5))] : []));
  return steps.length > 0 ? Math.max(...steps) : undefined;
}

async function textOf(path: string, boundary = dirname(path)): Promise<string | undefined> {
  const bytes = await readFileChecked(path, 2 ** 24, boundary).catch(() => undefined);
  return bytes && new TextDecoder().decode(bytes);
}
