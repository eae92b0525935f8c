/** How many threads to compute with. */
import { OptionError } from '@dimo/core';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/**
 * Threads for an engine on the CPU: the option, else the environment variable `DIMO_THREADS`, else the physical cores
 * that this process may use. A second thread per core shares its multipliers and slows matrix products down.
 *
 * @throws OptionError if the number is not a positive integer.
 */
export function resolveThreads(option?: number): number {
  const fromEnvironment = process.env['DIMO_THREADS'];
  if (option !== undefined) return checkThreads(option, 'option `threads`', option);
  if (fromEnvironment)
    return checkThreads(Number(fromEnvironment), 'environment variable DIMO_THREADS', fromEnvironment);
  return defaultThreads();
}

function checkThreads(threads: number, where: string, given: unknown): number {
  if (!Number.isInteger(threads) || threads < 1 || threads > 1024)
    throw new OptionError(`${where}: expected an integer from 1 to 1024, got ${JSON.stringify(given)}`);
  return threads;
}

function defaultThreads(): number {
  const limit = Math.min(availableParallelism(), containerLimit());
  return Math.max(1, Math.min(limit, physicalCores() ?? limit));
}

/** Physical cores as Linux lists them; undefined elsewhere. */
function physicalCores(): number | undefined {
  const text = readText('/proc/cpuinfo');
  if (text === undefined) return undefined;
  const cores = new Set<string>();
  for (const block of text.split(/\n\s*\n/)) {
    const core = /^core id\s*: (\d+)/m.exec(block)?.[1];
    if (core !== undefined) cores.add(`${/^physical id\s*: (\d+)/m.exec(block)?.[1] ?? '0'}:${core}`);
  }
  return cores.size || undefined;
}

/** CPU quota of the container (cgroup 2), in whole CPUs; infinite if there is none. */
function containerLimit(): number {
  const [quota, period] = (readText('/sys/fs/cgroup/cpu.max') ?? 'max').trim().split(' ');
  const cpus = Number(quota) / Number(period);
  return Number.isFinite(cpus) && cpus > 0 ? Math.max(1, Math.ceil(cpus)) : Infinity;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
