/** `dimo distill`: a teacher into a generator of one step, or of few. */
import { checkDistillation, distillRun, type DistillInputs, type DistillResult } from '../training/distill-run.js';
import { defaultModel } from '../models/models.js';
import type { TrainingFlags } from '../flags/training-flags.js';
import { shellQuoted } from '../flags/resume-command.js';
import { findTeacher } from '../models/models.js';
import { presetSettings, withDistillPreset } from '../models/distill-preset.js';
import { exitOk } from '../output/failure.js';
import { print, printError, printJson } from '../output/terminal.js';
import { planDistillation, readableDistillationPlan, stepBytes } from '../plan/distill-plan.js';
import { openProject, type OpenProjectOptions } from '../project/session.js';
import { readRunConfig } from '../run/folder.js';
import { tellUnfinished } from '../run/tell-unfinished.js';
import { withTeacherOfDataset } from '../training/picture-project.js';
import { runTrainingCommand } from '../training/train-command.js';
import { stringify } from 'yaml';

/** Flags of `distill`. */
export interface DistillFlags extends TrainingFlags {
  /** Print what the run would need, and end. */
  readonly plan: boolean;
}

/** Distils, or continues a distillation; or only says what that will need. */
export function distill(flags: DistillFlags): Promise<number> {
  return flags.plan ? plan(flags) : train(flags);
}

/** With the teacher of the dataset that is named, and then the preset for teachers of its kind. */
function completed(quiet: boolean): NonNullable<OpenProjectOptions['complete']> {
  const find = withTeacherOfDataset(quiet);
  return async (loaded, registry) => withDistillPreset(await find(loaded, registry), registry);
}

async function plan({ typed, resume, json, quiet }: DistillFlags): Promise<number> {
  const base = resume === undefined ? undefined : await readRunConfig(resume);
  const { config, registry } = await openProject(typed, { base, complete: completed(quiet) });
  const found = await findTeacher(config.teacher, registry);
  const planned = await planDistillation({ config, found, registry, resume });
  const settings = presetSettings(config, found.teacher.name, registry);
  const preset = settings ? { settings } : {};
  if (json) printJson({ ...preset, ...planned }, 2);
  else print(stringify({ ...preset, ...readableDistillationPlan(planned) }).trimEnd());
  return exitOk;
}

function train(flags: TrainingFlags): Promise<number> {
  return runTrainingCommand<DistillResult, DistillInputs>({
    name: 'distill',
    complete: completed(flags.quiet),
    flags,
    fallbackName: ({ config }) =>
      `distill-${(config.teacher.plugin ?? config.teacher.source ?? defaultModel).split(/[/\\]/).filter(Boolean).at(-1)}`,
    check: async ({ config, registry }) => {
      const onNote = (note: string): void => {
        if (!flags.quiet) printError(note);
      };
      const inputs = await checkDistillation(config, registry, { onNote, resume: flags.resume, stepBytes });
      await tellUnfinished([config.teacher.source], flags);
      return inputs;
    },
    train({ config, run, engine, resume }, inputs) {
      return distillRun({
        ...inputs,
        config,
        engine,
        run,
        moveState: true,
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
