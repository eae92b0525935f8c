/** `dimo demo`: the whole path on the bundled MNIST teacher: distil, evaluate, report. */
import { readGenerator, resolveSampler } from '@dimo/core';
import { folderWeightSource } from '@dimo/backend-node';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { requireDataset } from '../project/datasets.js';
import { checkDistillation, distillRun } from '../training/distill-run.js';
import { checkEvaluation } from '../evaluation/requirements.js';
import { evaluateModels } from '../evaluation/evaluation.js';
import { evaluationFileName, evaluationText, writeEvaluation } from '../evaluation/files.js';
import { exitOk } from '../output/failure.js';
import { healthLine } from '../run/health.js';
import { withDistillPreset } from '../models/distill-preset.js';
import type { TrainingFlags } from '../flags/training-flags.js';
import { writeReport } from '../evaluation/report.js';
import { stepBytes } from '../plan/distill-plan.js';
import { openNewRun, writeRunConfig } from '../run/folder.js';
import { writeHealth } from '../run/health-file.js';
import { writeResult } from '../run/train-run.js';
import { formatDuration } from '../run/progress.js';
import { openEngine, openProject } from '../project/session.js';
import { resumeCommand, shellQuoted } from '../flags/resume-command.js';
import { print, printError, printJson } from '../output/terminal.js';
import { exitCodeOfHealth } from '../training/train-command.js';

/** Settings of the demo, under those that were typed; docs/mnist.md compares temperatures. */
const full = { 'distill.numSteps': '1000', 'eval.count': '5000', 'sample.temperature': '0.75' };
/** About a minute: enough steps to see digits appear, too few samples for numbers to quote. */
const quick = {
  'distill.numSteps': '60',
  'distill.sampleEvery': '20',
  'eval.count': '500',
  'eval.teacherSteps': '[16, 4, 1]',
};

/** Runs the demo. */
export async function demo(flags: TrainingFlags & { readonly quick: boolean }): Promise<number> {
  const defaults = Object.entries(flags.quick ? quick : full).map(([path, text]) => ({
    path,
    text,
    where: 'dimo demo',
  }));
  const typed = { ...flags.typed, settings: [...defaults, ...flags.typed.settings] };
  const project = await openProject(typed, { complete: withDistillPreset });
  const { config, registry } = project;
  const note = (line: string): void => {
    if (!flags.quiet) printError(line);
  };
  const started = performance.now();
  const prepare = await checkDistillation(config, registry, { onNote: note, stepBytes });
  const dataset = await requireDataset({ config, registry });
  const { engine, explanation } = await openEngine(config.engine, registry);
  try {
    const inputs = await prepare(engine);
    const { found } = inputs;
    resolveSampler(config.sampler, found.teacher.sampler, registry.samplers);
    for (const line of await checkEvaluation({ config, registry, dataset, definition: found.teacher })) note(line);
    const run = await openNewRun({
      ...config.run,
      name: config.run.name,
      fallback: flags.quick ? 'demo-quick' : 'demo',
    });
    try {
      await writeRunConfig(run.path, config, flags.quick ? 'demo --quick' : 'demo');
      note(
        `${explanation}\nrun folder ${run.path}\n1/3 distilling the teacher "${found.name}" into a one-step generator`,
      );
      const common = { config, engine, run };
      const distilled = await distillRun({
        ...common,
        ...inputs,
        resume: false,
        resumeOverride: [],
        quiet: flags.quiet,
      });
      await writeResult(run, distilled, () => writeHealth(run.path, distilled.step, distilled.health));
      if (distilled.stopped) {
        const { step } = distilled;
        const resume = resumeCommand('distill', run.path, flags.typed, config.plugins);
        if (flags.json) printJson({ run: run.path, step, stopped: true, resume });
        else print(`stopped after step ${step}, saved; continue with:\n  ${resume}`);
        return exitOk;
      }
      note(`2/3 evaluating teacher and generator on ${config.eval.count} samples each`);
      const generator = await readGenerator(folderWeightSource(distilled.generatorFolder), registry.teachers);
      const evaluation = await evaluateModels({
        engine,
        config,
        registry,
        dataset,
        teacher: found,
        generators: [{ generator, name: run.path }],
        quiet: flags.quiet,
        onProgress: (line) => note(`    ${line}`),
      });
      await writeResult(run, distilled, () =>
        writeEvaluation(join(run.path, evaluationFileName), evaluation, { ...engine.info }),
      );
      note('3/3 writing the report');
      const report = await writeResult(run, distilled, () => writeReport(run.path));
      const seconds = (performance.now() - started) / 1000;
      if (flags.json) printJson({ run: run.path, report, seconds, rows: evaluation.rows, health: distilled.health });
      else
        print(
          [
            '',
            evaluationText(evaluation),
            '',
            `${formatDuration(seconds)} in all, ${formatDuration(distilled.seconds)} of them distilling`,
            healthLine(distilled.health),
            `generator: ${distilled.generatorFolder} (dimo sample --model ${shellQuoted(distilled.generatorFolder)})`,
            `report:    ${pathToFileURL(resolve(report)).href}`,
          ].join('\n'),
        );
      return exitCodeOfHealth(distilled.health, flags);
    } finally {
      await run.release();
    }
  } finally {
    await engine.dispose();
  }
}
