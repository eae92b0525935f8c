/** Numbers about numbers. */
import { loadavg, cpus } from 'node:os';

/** @param {readonly number[]} values */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Process CPU seconds (user and system, all threads) so far. */
export function cpuSeconds() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** Bytes, the largest resident size of this process so far. */
export function peakRss() {
  return process.resourceUsage().maxRSS * 1024;
}

/** One line that says how busy the machine is, and whether wall times can be trusted. */
export function loadLine() {
  const load = loadavg()[0];
  const busy = load > 0.5 * cpus().length;
  return `${cpus().length} CPUs, load ${load.toFixed(1)} before the run${busy ? ': wall times are PROVISIONAL, compare CPU times' : ''}`;
}

/** `name=value` arguments, the rest of the defaults; `--name` alone is `name=1`. */
export function options(defaults) {
  const given = Object.fromEntries(
    process.argv.slice(2).map((argument) => {
      const [name, value = '1'] = argument.replace(/^--/, '').split('=');
      return [name, value];
    }),
  );
  for (const name of Object.keys(given))
    if (!(name in defaults)) throw new Error(`unknown option "${name}"; known are ${Object.keys(defaults).join(', ')}`);
  return Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      name in given ? (typeof value === 'number' ? Number(given[name]) : given[name]) : value,
    ]),
  );
}
