/** `dimo distill`: a teacher into a one-step generator. */
import { distillRun, type DistillResult } from '../distill-run.js';
import { findTeacher } from '../models.js';
import type { TrainingFlags } from '../program.js';
import { shellQuoted } from '../resume-command.js';
import { tellUnfinished } from '../tell-unfinished.js';
import { runTrainingCommand } from '../train-command.js';

/** Distils, or continues a distillation. */
export function distill(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<DistillResult>({
    name: 'distill',
    flags,
    fallbackName: ({ config }) =>
      `distill-${(config.teacher.plugin ?? config.teacher.source ?? 'mnist').split(/[/\\]/).filter(Boolean).at(-1)}`,
    async train({ project, config, run, engine, resume }) {
      const found = await findTeacher(config.teacher, project.registry);
      await tellUnfinished([config.teacher.source], flags);
      return distillRun({
        config,
        found,
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
