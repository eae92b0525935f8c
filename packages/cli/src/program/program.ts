/** All commands as one program. Each command's flags and help stand beside it; its work is imported when it runs. */
import { Command, Option } from 'commander';
import { addDatasetInfo } from '../commands/dataset-info.flags.js';
import { addDemo } from '../commands/demo.flags.js';
import { addDistill } from '../commands/distill.flags.js';
import { addDoctor } from '../commands/doctor.flags.js';
import { addEval } from '../commands/eval.flags.js';
import { addExport } from '../commands/export.flags.js';
import { addFeatures } from '../commands/features.flags.js';
import { addImport } from '../commands/import.flags.js';
import { addInfo } from '../commands/info.flags.js';
import { addPush } from '../commands/push.flags.js';
import { addReport } from '../commands/report.flags.js';
import { addRuns } from '../commands/runs.flags.js';
import { addSample } from '../commands/sample.flags.js';
import { addServe } from '../commands/serve.flags.js';
import { addTrainTeacher } from '../commands/train-teacher.flags.js';
import { addTrainTokenizer } from '../commands/train-tokenizer.flags.js';
import { addWatch } from '../commands/watch.flags.js';
import { examples, type ProgramResult } from '../flags/command.js';
import { cleanText, widthOf } from '../output/terminal.js';
import { version } from '../version.js';

/** The whole command line. */
export function buildProgram(result: ProgramResult): Command {
  const program = new Command('dimo')
    .description('Distils masked diffusion models into one-step generators (Di[M]O, arXiv 2503.15457).')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .option('--debug', 'print stacks of errors')
    .showSuggestionAfterError(true)
    .exitOverride();
  // Commander repeats what was typed: an argument with escape sequences must not reach the terminal raw.
  program.configureOutput({
    writeOut: (text) => process.stdout.write(cleanText(text)),
    writeErr: (text) => process.stderr.write(cleanText(text)),
    // COLUMNS where there is no terminal.
    getOutHelpWidth: () => widthOf(process.stdout),
    getErrHelpWidth: () => widthOf(process.stderr),
  });

  program.configureHelp({ minWidthToWrap: 10 });

  addDemo(program, result);
  const dataset = program
    .command('dataset')
    .description('Look at what is trained on.')
    .addHelpText('after', examples(['dimo dataset info ./pictures', 'dimo dataset info mnist']));
  addDatasetInfo(dataset, result);
  const train = program
    .command('train')
    .description('Train a tokenizer or a teacher from scratch.')
    .addHelpText(
      'after',
      examples(['dimo train tokenizer --dataset mnist', 'dimo train teacher --tokenizer runs/tokenizer/tokenizer']),
    );
  addTrainTokenizer(train, result);
  addTrainTeacher(train, result);
  addDistill(program, result);
  addSample(program, result);
  addImport(program, result);
  addExport(program, result);
  addPush(program, result);
  addServe(program, result);
  addEval(program, result);
  addFeatures(program, result);
  addRuns(program, result);
  addWatch(program, result);
  addReport(program, result);
  addDoctor(program, result);
  addInfo(program, result);

  program
    .command('completion')
    .description('Print a script that completes dimo in your shell.')
    .addArgument(program.createArgument('<shell>', 'your shell').choices(['bash', 'zsh', 'fish', 'powershell']))
    .addHelpText(
      'after',
      examples(['source <(dimo completion bash)', 'source <(dimo completion zsh)', 'dimo completion fish | source']),
    );
  for (const command of everyCommand(program))
    if (!command.options.some((option) => option.long === '--debug'))
      command.addOption(new Option('--debug', 'print stacks of errors'));
  return program;
}

/** A command and all below it. */
export function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}
