/** `dimo distill`: a teacher into a generator of one step, or of few. */
import { checkDistillation, distillRun, type DistillInputs, type DistillResult } from '../training/distill-run.js';
import { defaultModel } from '../models/models.js';
import type { TrainingFlags } from '../flags/training-flags.js';
import { shellQuoted } from '../flags/resume-command.js';
import { tellUnfinished } from '../run/tell-unfinished.js';
import { printError } from '../output/terminal.js';
import { runTrainingCommand } from '../training/train-command.js';

/** Distils, or continues a distillation. */
export function distill(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<DistillResult, DistillInputs>({
    name: 'distill',
    flags,
    fallbackName: ({ config }) =>
      `distill-${(config.teacher.plugin ?? config.teacher.source ?? defaultModel).split(/[/\\]/).filter(Boolean).at(-1)}`,
    check: async ({ config, registry }) => {
      const inputs = await checkDistillation(config, registry, (note) => {
        if (!flags.quiet) printError(note);
      });
      await tellUnfinished([config.teacher.source], flags);
      return inputs;
    },
    train({ config, run, engine, resume }, inputs) {
      return distillRun({
        ...inputs,
        config,
        engine,
        run,
        resume,
        resumeOverride: flags.resumeOverride,
        quiet: flags.quiet,
      });
    },
    health: (result) => result.health,
    describe: (result) => [
      `generator ${result.generatorFolder}; try: dimo sample --model ${shellQuoted(result.generatorFolder)}`,
    ],
    facts: (result) => ({ generator: result.generatorFolder, counters: result.counters }),
  });
}
