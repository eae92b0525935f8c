/** What a distillation will need, for `dimo distill --plan`: nothing is run, and nothing is made. */
import { dimoAlgorithm, sizeOf, specsOf, type PluginRegistry } from '@dimo/core';
import type { DimoConfig } from '../config/schema.js';
import { configuredDistillation } from '../training/distillation-settings.js';
import type { FoundTeacher } from '../models/models.js';
import { formatBytes } from '../run/progress.js';
import { trainingEstimate } from './plan.js';
import { machineSpace, needsOf, type MachineSpace, type Recompute, type RunNeeds } from '../run/run-needs.js';

/** Numbers in bytes; what is not known is absent. */
export interface DistillationPlan {
  readonly teacher: string;
  readonly parameters: { readonly generator: number; readonly teacher: number };
  readonly state: number;
  /** Of a step, by batch size; none for algorithms whose steps are not known here. */
  readonly steps: readonly PlannedStep[];
  readonly disk: Pick<RunNeeds, 'checkpointBytes' | 'numCheckpoints'> & { readonly folder: string };
  readonly machine: MachineSpace;
}

/** A step of a batch size, with all results of the forward pass kept, and with blocks computed twice. */
export interface PlannedStep {
  readonly batchSize: number;
  readonly activations: number;
  readonly memory: number;
  readonly recomputing: { readonly activations: number; readonly memory: number };
}

/** What is planned. */
export interface DistillationToPlan {
  readonly config: DimoConfig;
  readonly found: FoundTeacher;
  readonly registry: PluginRegistry;
  /** Folder of the run, if it is continued. */
  readonly resume: string | undefined;
}

/** Memory of a step of the configured distillation; undefined for algorithms whose steps are not known here. */
export async function stepBytes(
  config: Pick<DimoConfig, 'distill' | 'seed'>,
  { teacher }: FoundTeacher,
  recompute: Recompute,
): Promise<number | undefined> {
  if (config.distill.algorithm !== dimoAlgorithm.name) return undefined;
  return (await trainingEstimate({ definition: teacher, config, rates: undefined, recompute })).memoryBytes;
}

/** The plan. @throws OptionError for settings that a run would refuse */
export async function planDistillation({
  config,
  found,
  registry,
  resume,
}: DistillationToPlan): Promise<DistillationPlan> {
  const { teacher } = found;
  const { program, frozen, generator } = configuredDistillation(config, registry, { teacher });
  const { needs, folder } = await needsOf({ config, state: specsOf(program.initialState()), frozen, resume });
  const { batchSize, algorithm } = config.distill;
  const batches = algorithm === dimoAlgorithm.name ? [...new Set([1, batchSize, 2 * batchSize, 4 * batchSize])] : [];
  const steps = [];
  for (const size of batches) {
    const estimated = async (recompute: Recompute) => {
      const { activationBytes: activations, memoryBytes: memory } = await trainingEstimate({
        definition: teacher,
        config: { ...config, distill: { ...config.distill, batchSize: size } },
        rates: undefined,
        recompute,
      });
      return { activations, memory };
    };
    steps.push({ batchSize: size, ...(await estimated('none')), recomputing: await estimated('blocks') });
  }
  const { stateBytes, checkpointBytes, numCheckpoints } = needs;
  return {
    teacher: found.name,
    parameters: { generator: countOf(generator.model.parameters), teacher: countOf(teacher.model.parameters) },
    state: stateBytes,
    steps,
    disk: { folder, checkpointBytes, numCheckpoints },
    // The engine is not chosen yet; those that compute elsewhere need no less of their own memory.
    machine: machineSpace('onnx', folder),
  };
}

function countOf(parameters: Readonly<Record<string, { readonly shape: readonly number[] }>>): number {
  return Object.values(parameters).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
}

/** The plan with units. */
export function readableDistillationPlan({
  teacher,
  parameters,
  state,
  steps,
  disk,
  machine,
}: DistillationPlan): Record<string, unknown> {
  const size = (bytes: number | undefined): string => (bytes === undefined ? 'unknown' : formatBytes(bytes));
  return {
    teacher,
    parameters: Object.fromEntries(
      Object.entries(parameters).map(([name, count]) => [name, count.toLocaleString('en-US')]),
    ),
    state: size(state),
    steps: Object.fromEntries(
      steps.map(({ batchSize, activations, memory, recomputing }) => [
        `batch ${batchSize}`,
        `${size(memory)} of memory, ${size(activations)} of them activations; with distill.recompute blocks ${size(recomputing.memory)}, ${size(recomputing.activations)}`,
      ]),
    ),
    disk: `${size(disk.numCheckpoints * disk.checkpointBytes)} for ${disk.numCheckpoints} checkpoints of ${size(disk.checkpointBytes)}, ${size(machine.diskBytes)} are free for ${disk.folder}`,
    machine: `${size(machine.availableBytes)} of ${size(machine.memoryBytes)} of memory are free`,
  };
}
