/** Flags that the training commands share. */
import type { Command } from 'commander';
import { text } from './command.js';
import { collect, typedSettings, type ConfiguredCommand, type TypedSettings } from './flags.js';

/** Options that training commands share. */
export interface TrainingFlags {
  readonly typed: TypedSettings;
  /** Folder of a run to continue. */
  readonly resume: string | undefined;
  /** Keys that may differ from the run that is continued. */
  readonly resumeOverride: readonly string[];
  readonly quiet: boolean;
  readonly json: boolean;
  /** Exit with 1 if the result is destroyed. */
  readonly strictHealth: boolean;
}

/** Adds the flags of a training. */
export function trainingOptions(command: Command): Command {
  return command
    .option('--resume <run>', 'continue a run from its newest checkpoint')
    .option('--resume-override <keys>', 'keys that may differ from the saved run, separated by commas', collect, [])
    .option('--strict-health', 'exit with 1 if the run ends with a destroyed result')
    .option('--json', 'print the result as JSON')
    .option('-q, --quiet', 'print only the result');
}

/** Reads the flags of a training that were given. */
export function trainingFlags(name: ConfiguredCommand, options: Readonly<Record<string, unknown>>): TrainingFlags {
  return {
    typed: typedSettings(name, options),
    resume: text(options['resume']),
    resumeOverride: ((options['resumeOverride'] ?? []) as string[]).flatMap((keys) => keys.split(',')),
    quiet: options['quiet'] === true,
    json: options['json'] === true,
    strictHealth: options['strictHealth'] === true,
  };
}
