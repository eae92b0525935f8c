/** The plan in words, and the measurement that it needs. */
import { DimoError, type InspectedPart, type PluginRegistry } from '@dimo/core';
import type { DimoConfig } from '../config/schema.js';
import { formatBytes } from '../run/progress.js';
import { openEngine } from '../project/session.js';
import { printError } from '../output/terminal.js';
import type { Estimate, MachineRates, Plan } from './plan.js';

/** How long each of the two measurements takes. */
const probeSeconds = 0.5;

/** Measures the engine of the configuration; undefined, with a line that says why, if it does not run here. */
export async function measuredRates(
  settings: DimoConfig['engine'],
  registry: PluginRegistry,
): Promise<MachineRates | undefined> {
  try {
    const { elementwiseRate, matrixProductRate } = await import('@dimo/backend-node');
    const { engine } = await openEngine(settings, registry);
    try {
      const gigaflops = await matrixProductRate(engine, probeSeconds);
      const otherBytes = await elementwiseRate(engine, probeSeconds);
      return { engine: engine.info.name, matrixOperations: gigaflops * 1e9, otherBytes };
    } finally {
      await engine.dispose();
    }
  } catch (error) {
    if (!DimoError.isInstance(error)) throw error;
    printError(`the plan has no times: ${error.message}`);
    return undefined;
  }
}

/** Parts and plan with units. */
export function readablePlan(parts: readonly InspectedPart[] | undefined, plan: Plan): Record<string, unknown> {
  const { sampling, trainingStep, basis } = plan;
  return {
    ...(parts
      ? {
          parts: Object.fromEntries(
            parts.map(({ name, parameters, bytes }) => [
              name,
              `${parameters.toLocaleString('en-US')} parameters, ${formatBytes(bytes)} on disk`,
            ]),
          ),
        }
      : {}),
    plan: {
      sampling: {
        ...readable(sampling),
        steps: sampling.steps,
        ...(sampling.secondsPerSample === undefined ? {} : { perSample: seconds(sampling.secondsPerSample) }),
      },
      trainingStep: readable(trainingStep),
      basis,
    },
  };
}

function readable({ batchSize, operations, memoryBytes, seconds: time }: Estimate): Record<string, unknown> {
  return {
    batch: batchSize,
    operations: `${(operations / 1e9).toPrecision(3)} GFLOP`,
    memory: formatBytes(memoryBytes),
    ...(time === undefined ? {} : { time: seconds(time) }),
  };
}

function seconds(time: number): string {
  if (time >= 100) return `${(time / 60).toFixed(1)} min`;
  return time >= 1 ? `${time.toFixed(1)} s` : `${(1000 * time).toPrecision(2)} ms`;
}
