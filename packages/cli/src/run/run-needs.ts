/**
 * What a training needs of memory and disk, against what the machine has: said before it starts. A run is refused only
 * where it cannot succeed as things are (its state exceeds all memory, or not even one checkpoint could be saved); where
 * an estimate says so, or space may be freed meanwhile, it is warned.
 */
import { folderCheckpointStore } from '@dimo/backend-node';
import { DimoError, listCheckpoints, type SpecTree } from '@dimo/core';
import { readFileSync, statfsSync } from 'node:fs';
import { freemem, totalmem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { DimoConfig } from '../config/schema.js';
import { toGroups } from './checkpoint-groups.js';
import { formatBytes } from './progress.js';
import { bytesOfSpecs } from './spec-bytes.js';

/** What a run needs. */
export interface RunNeeds {
  /** All of the state, on the device. */
  readonly stateBytes: number;
  /** Tensors of one checkpoint. */
  readonly checkpointBytes: number;
  /** Checkpoints for which there must be space: those that are kept and the one being written, less those that are there. */
  readonly numCheckpoints: number;
  /** A step with its state, by the plan. */
  readonly stepBytes?: number;
}

/** What a machine has; absent what is not known. */
export interface MachineSpace {
  /** All memory that programs can have, with swap; of engines that compute in main memory. */
  readonly memoryBytes?: number | undefined;
  /** Of it, what is free now. */
  readonly availableBytes?: number | undefined;
  /** Free on the disk of the run. */
  readonly diskBytes?: number | undefined;
}

/** Engines whose state is in main memory. */
const mainMemoryEngines: readonly string[] = ['onnx', 'onnx-native', 'wasm', 'tensorflow', 'cpu'];

/** Part of the memory below which a state is not worth the seconds that a plan of its steps takes. */
const worthPlanning = 1 / 16;

/** Tokens of a batch above which its activations are worth them. */
const worthPlanningTokens = 2 ** 15;

/** What the tensors of a state need. */
export function runNeeds(
  state: SpecTree,
  { frozen, keep, existing }: { readonly frozen: readonly string[]; readonly keep: number; readonly existing: number },
): RunNeeds {
  const saved = Object.values(toGroups(state, frozen)).flatMap((group) => Object.values(group));
  return {
    stateBytes: bytesOfSpecs(Object.values(state)),
    checkpointBytes: bytesOfSpecs(saved),
    numCheckpoints: Math.max(1, Math.max(1, keep) + 1 - existing),
  };
}

/**
 * Warnings, a sentence each.
 *
 * @throws DimoError with code `device` or `io` if the run cannot succeed.
 */
export function judgeRun(needs: RunNeeds, machine: MachineSpace, folder: string): string[] {
  const { stateBytes, checkpointBytes, numCheckpoints, stepBytes } = needs;
  const { memoryBytes = Infinity, availableBytes = Infinity, diskBytes = Infinity } = machine;
  if (stateBytes > memoryBytes)
    throw new DimoError(
      'device',
      `this run does not fit: its state alone has ${formatBytes(stateBytes)}, the machine ${formatBytes(memoryBytes)} of memory`,
      { hint: 'use a smaller model or a machine with more memory; `dimo distill --plan` says what a run needs' },
    );
  if (checkpointBytes > diskBytes)
    throw new DimoError(
      'io',
      `this run could not be saved: a checkpoint has ${formatBytes(checkpointBytes)}, ${formatBytes(diskBytes)} are free on the disk of ${folder}`,
      { path: folder, hint: 'free space, or name a folder on another disk with --runs' },
    );
  const warnings: string[] = [];
  if (numCheckpoints * checkpointBytes > diskBytes)
    warnings.push(
      `warning: the checkpoints of this run need ${formatBytes(numCheckpoints * checkpointBytes)}, ${formatBytes(diskBytes)} are free on the disk of ${folder}: free space, or lower checkpoint.keep`,
    );
  const needed = stepBytes ?? stateBytes;
  if (needed > availableBytes)
    warnings.push(
      `warning: this run needs about ${formatBytes(needed)} of memory, ${formatBytes(availableBytes)} are free: lower the batch size (accumulation makes up for it), or end other programs`,
    );
  return warnings;
}

/** What this machine has for an engine and a folder, which need not exist yet. */
export function machineSpace(engine: string, folder: string): MachineSpace {
  return { ...(mainMemoryEngines.includes(engine) ? mainMemory() : {}), diskBytes: freeDisk(folder) };
}

/** Main memory as the kernel of Linux tells it; others grow their swap, or count as used what they would give. */
function mainMemory(): Pick<MachineSpace, 'memoryBytes' | 'availableBytes'> {
  if (process.platform !== 'linux') return {};
  // Of a container; without a limit a number beyond any memory.
  const limit = process.constrainedMemory() || Infinity;
  return {
    memoryBytes: Math.min(limit, totalmem()) + swapBytes(),
    availableBytes: Math.min(limit, freemem()),
  };
}

function swapBytes(): number {
  try {
    return 1024 * Number(/^SwapTotal:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Free bytes on the disk of a folder or, where it is not made yet, of the one that it will be in. */
function freeDisk(folder: string): number | undefined {
  for (let place = resolve(folder); ; place = dirname(place)) {
    try {
      const { bavail, bsize, blocks } = statfsSync(place);
      // Some network file systems say nothing.
      return blocks === 0 ? undefined : bavail * bsize;
    } catch {
      if (dirname(place) === place) return undefined;
    }
  }
}

/** What is computed a second time for the gradients instead of kept. */
export type Recompute = 'none' | 'blocks';

/** A run that is about to start. */
export interface RunToCheck {
  readonly engine: string;
  readonly config: Pick<DimoConfig, 'checkpoint' | 'run'>;
  readonly state: SpecTree;
  /** See `TrainRun.frozen`. */
  readonly frozen?: readonly string[] | undefined;
  /** Folder of the run, if it is continued. */
  readonly resume?: string | undefined;
  /** What is set for `recompute`. @default 'none' */
  readonly recompute?: Recompute | 'auto';
  /** Tokens of a batch, whose activations may be large where the state is not. @default few */
  readonly tokens?: number;
  /** Memory of a step by the plan; asked where it matters. */
  readonly stepBytes?: (recompute: Recompute) => Promise<number | undefined>;
}

/** Its needs, without those of a step, and the folder whose disk they are on. */
export async function needsOf({ config, state, frozen = [], resume }: Omit<RunToCheck, 'engine'>): Promise<{
  readonly needs: RunNeeds;
  readonly folder: string;
}> {
  const existing =
    resume === undefined ? [] : await listCheckpoints(folderCheckpointStore(join(resume, 'checkpoints'), resume));
  const needs = runNeeds(state, { frozen, keep: config.checkpoint.keep, existing: existing.length });
  return { needs, folder: resume ?? config.run.folder };
}

/**
 * Checks a run before it starts.
 *
 * @returns notes and warnings, a sentence each, and what is computed twice.
 * @throws DimoError as `judgeRun`.
 */
export async function checkRunFits(
  run: RunToCheck,
): Promise<{ readonly notes: readonly string[]; readonly recompute: Recompute }> {
  const { needs, folder } = await needsOf(run);
  const machine = machineSpace(run.engine, folder);
  const { recompute: setting = 'none', tokens = 0 } = run;
  const isLarge =
    machine.memoryBytes !== undefined &&
    (needs.stateBytes > worthPlanning * machine.memoryBytes || tokens > worthPlanningTokens);
  let recompute: Recompute = setting === 'blocks' ? 'blocks' : 'none';
  let stepBytes = isLarge ? await run.stepBytes?.(recompute) : undefined;
  const notes: string[] = [];
  if (setting === 'auto' && stepBytes !== undefined && stepBytes > (machine.availableBytes ?? Infinity)) {
    notes.push(
      `a step would need about ${formatBytes(stepBytes)} of memory: the blocks of the networks are computed twice instead of kept (distill.recompute)`,
    );
    recompute = 'blocks';
    stepBytes = await run.stepBytes?.(recompute);
  }
  const warnings = judgeRun({ ...needs, ...(stepBytes === undefined ? {} : { stepBytes }) }, machine, folder);
  return { notes: [...notes, ...warnings], recompute };
}
