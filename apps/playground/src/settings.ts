/** Settings in the address: a link shows what its sender saw. */

/** What an address can say. */
export interface Settings {
  readonly tab: 'generate' | 'distil';
  /** Id of a bundled model, or the address of a folder. */
  readonly model: string | undefined;
  readonly engine: string;
  readonly classes: readonly string[] | undefined;
  readonly prompt: string | undefined;
  readonly count: number | undefined;
  readonly seed: number;
  /** Passes of the teacher; absent: what it recommends. */
  readonly steps: number | undefined;
  /** Name of the teacher's sampler; absent: its own. */
  readonly sampler: string | undefined;
  readonly distilSteps: number;
  readonly distilBatch: number;
  readonly distilSeed: number;
}

/** Reads the address of the page; what is wrong in it is as if it were not there. */
export function readSettings(search: string): Settings {
  const given = new URLSearchParams(search);
  const whole = (name: string, least: number, most: number): number | undefined => {
    const text = given.get(name) ?? '';
    const value = Number(text);
    return /^[0-9]{1,10}$/.test(text) && value >= least && value <= most ? value : undefined;
  };
  return {
    tab: given.get('tab') === 'distil' ? 'distil' : 'generate',
    model: given.get('model') ?? undefined,
    engine: given.get('engine') ?? 'auto',
    classes: given.get('classes')?.split(','),
    prompt: given.get('prompt')?.slice(0, 2000),
    count: whole('count', 1, 20),
    seed: whole('seed', 0, 2 ** 32 - 1) ?? 1,
    steps: whole('steps', 1, 16),
    sampler: given.get('sampler')?.slice(0, 100),
    distilSteps: whole('distil-steps', 1, 100_000) ?? 1000,
    distilBatch: whole('distil-batch', 1, 64) ?? 64,
    distilSeed: whole('distil-seed', 0, 2 ** 32 - 1) ?? 0,
  };
}

/** Keeps the address as the settings are, without a new entry in the history. */
export function writeSettings(values: Readonly<Record<string, string | undefined>>): void {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values))
    if (value === undefined) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  history.replaceState(null, '', url);
}
