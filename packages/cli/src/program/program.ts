/** The commands, their flags and their help. Each command's work is imported when it runs. */
import { Command, Option } from 'commander';
import { addConfigFlags, collect, typedSettings, type ConfiguredCommand, type TrainingFlags } from '../flags/flags.js';
import { cleanText, widthOf } from '../output/terminal.js';
import { version } from '../version.js';

/** Receives the exit code of the command that ran. */
export interface ProgramResult {
  exitCode: number;
}

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

  configured(program, 'demo', 'demo')
    .description('Distil the bundled MNIST teacher, evaluate teacher and generator, write a report with pictures.')
    .option('--quick', 'show the whole path in about a minute')
    .option('--strict-health', 'exit with 1 if the run ends with a destroyed generator')
    .option('--json', 'print the result as JSON')
    .option('-q, --quiet', 'print only the result')
    .addHelpText('after', examples(['dimo demo', 'dimo demo --quick', 'dimo demo --engine wasm --seed 1']))
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { demo } = await import('../commands/demo.js');
      const flags = allOptions(command, options);
      result.exitCode = await demo({ ...trainingFlags('demo', flags), quick: flags['quick'] === true });
    });

  const train = program
    .command('train')
    .description('Train a tokenizer or a teacher from scratch.')
    .addHelpText(
      'after',
      examples(['dimo train tokenizer --dataset mnist', 'dimo train teacher --tokenizer runs/tokenizer/tokenizer']),
    );
  trainingOptions(configured(train, 'tokenizer', 'train tokenizer'))
    .description('Train an image tokenizer (images to tokens and back) on a dataset.')
    .addHelpText(
      'after',
      examples(['dimo train tokenizer --dataset mnist', 'dimo train tokenizer --dataset fashion-mnist --name fashion']),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { trainTokenizer } = await import('../commands/train-tokenizer.js');
      result.exitCode = await trainTokenizer(trainingFlags('train tokenizer', allOptions(command, options)));
    });
  trainingOptions(configured(train, 'teacher', 'train teacher'))
    .description('Train a masked diffusion model on tokens: the teacher of a distillation.')
    .addHelpText(
      'after',
      examples([
        'dimo train teacher --dataset mnist --tokenizer runs/tokenizer/tokenizer',
        'dimo train teacher --plugin ./my-teacher.js --teacher-plugin my-model --dataset my-tokens --steps 500',
      ]),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { trainTeacher } = await import('../commands/train-teacher.js');
      result.exitCode = await trainTeacher(trainingFlags('train teacher', allOptions(command, options)));
    });

  trainingOptions(configured(program, 'distill', 'distill'))
    .description('Distil a teacher into a one-step generator.')
    .addHelpText(
      'after',
      examples([
        'dimo distill --teacher mnist --steps 1000 --name mnist-one-step',
        'dimo distill --config dimo.config.yaml --set distill.averageDecay=0.999',
        'dimo distill --resume runs/mnist-one-step',
        'dimo distill --teacher runs/teacher --batch 16 --plan',
      ]),
    )
    .option('--plan', 'print what the run will need of memory and disk, and end')
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { distill } = await import('../commands/distill.js');
      const flags = trainingFlags('distill', allOptions(command, options));
      result.exitCode = await distill({ ...flags, plan: options['plan'] === true });
    });

  configured(program, 'sample', 'sample')
    .description('Generate samples with a one-step generator, or with a teacher in several steps.')
    .argument('[prompts...]', 'what to generate: prompts or classes, one sample each unless --count says more')
    .option('--model <name|folder>', 'a generator: mnist, or a folder written by dimo distill or dimo import')
    .option('-o, --out <file>', 'PNG grid (default: samples.png); for sequences a .json or .txt file')
    .option('--images <folder>', 'also write every image as a PNG')
    .option('--tokens <file>', 'also write the tokens as JSON')
    .option('--columns <n>', 'columns of the grid')
    .option('--json', 'print what was written as JSON')
    .option('-q, --quiet', 'print nothing')
    .addHelpText(
      'after',
      examples([
        'dimo sample --model mnist --classes 0-9 --count 64 --seed 1 --out grid.png',
        'dimo sample --model runs/mnist-one-step/generator --classes 3 --count 16 --out threes.png',
        'dimo sample --teacher mnist --steps 16 --count 64 --out teacher.png',
        'dimo sample "a red ball" --teacher models/meissonic --negative-prompt "blurry, low quality" --out ball.png',
        'dimo sample "a red ball on a blue cube" "a boat in a cup" --model models/one-step --out pictures.png',
      ]),
    )
    .action(async (prompts: string[], options: Record<string, unknown>, command: Command) => {
      const { sample } = await import('../commands/sample.js');
      const flags = allOptions(command, options);
      result.exitCode = await sample({
        typed: typedSettings('sample', flags),
        teacherGiven: flags['teacher'] !== undefined || flags['teacherPlugin'] !== undefined,
        prompts,
        model: text(flags['model']),
        out: text(flags['out']),
        images: text(flags['images']),
        tokens: text(flags['tokens']),
        columns: text(flags['columns']),
        quiet: flags['quiet'] === true,
        json: flags['json'] === true,
      });
    });

  program
    .command('import')
    .description('Make a model of a hub or a folder usable: fetch it into the shared cache, recognize its layout.')
    .argument('<model>', 'a folder, or hf:owner/repository[/folder][@revision]')
    .option('-o, --out <folder>', 'small folder that names the model (default: models/<name>)')
    .option(
      '--teacher <folder|hf:...>',
      'for a released generator: its teacher, whose decoder and text encoder it uses',
    )
    .option(
      '--set <key=value>',
      'says what the files do not hold, such as transformer.heads=8; may be repeated',
      collect,
      [],
    )
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .option('--json', 'print what was imported as JSON')
    .option('-q, --quiet', 'print nothing')
    .addHelpText(
      'after',
      examples([
        'dimo import hf:meissonflow/meissonic',
        'dimo import hf:Yuanzhi/DiMO/meissonic --teacher models/meissonic --out models/one-step',
        'dimo import ~/downloads/maskgit --out models/imagenet',
        'dimo import ~/downloads/other --set transformer.heads=8 --out models/other',
        'HF_HUB_OFFLINE=1 dimo import hf:meissonflow/meissonic    # from the cache alone',
      ]),
    )
    .addHelpText(
      'after',
      `
Environment:
  HF_TOKEN          access to private and gated repositories; sent to the hub alone, never printed
  HF_HOME           holds the cache, shared with other tools (default: ~/.cache/huggingface)
  HF_ENDPOINT       another hub or a mirror
  HF_HUB_OFFLINE=1  no request is made
`,
    )
    .action(async (what: string, options: Record<string, unknown>) => {
      const { importModel } = await import('../commands/import.js');
      result.exitCode = await importModel({
        what,
        out: text(options['out']),
        teacher: text(options['teacher']),
        settings: options['set'] as string[],
        plugins: options['plugin'] as string[],
        quiet: options['quiet'] === true,
        json: options['json'] === true,
      });
    });

  configured(program, 'serve', 'serve')
    .description('Serve the page, and models over HTTP: POST /v1/images, GET /v1/models.')
    .option('--model <name|folder>', 'a generator, or a teacher; may be repeated (default: mnist)', collect, [])
    .option('--host <address>', 'address to listen on; others than this machine need a token (default: 127.0.0.1)')
    .option('--port <n>', 'port, 0 for any free one (default: 7860)')
    .option('--allow-host <name>', 'a further name that the Host header may hold; may be repeated', collect, [])
    .option('--token <text>', 'what clients must send as Authorization: Bearer <text>; better set DIMO_TOKEN')
    .option('--page <folder>', 'static files to serve beside the API (default: the page that comes with dimo)')
    .option('--json', 'print the address and the models as one line of JSON, once they are served')
    .option('-q, --quiet', 'print no line per request')
    .addHelpText(
      'after',
      examples([
        'dimo serve --model mnist',
        'dimo serve --model models/one-step --port 8000',
        `curl http://127.0.0.1:7860/v1/images -H 'content-type: application/json' -d '{"classes": [3, 7], "seed": 1}'`,
        'DIMO_TOKEN=$(openssl rand -hex 16) dimo serve --host 0.0.0.0 --allow-host my-machine.local',
      ]),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { serve } = await import('../commands/serve.js');
      const flags = allOptions(command, options);
      result.exitCode = await serve({
        typed: typedSettings('serve', flags),
        models: flags['model'] as string[],
        host: text(flags['host']),
        port: text(flags['port']),
        allowedHosts: flags['allowHost'] as string[],
        token: text(flags['token']),
        page: text(flags['page']),
        json: flags['json'] === true,
        quiet: flags['quiet'] === true,
      });
    });

  const teacherOptions = new Set<string>();
  configured(program, 'eval', 'eval')
    .description('Measure a teacher at several steps and generators at one: FID, IS, precision, recall and more.')
    .option('--model <name|folder>', 'a generator to measure; may be repeated', collect, [])
    .option('-o, --out <file>', 'JSON file with the numbers (default: eval.json in the run of the generator)')
    .option('--no-teacher', 'measure the generators only')
    .on('option:teacher', () => teacherOptions.add('--teacher'))
    .on('option:no-teacher', () => teacherOptions.add('--no-teacher'))
    .option('--json', 'print the numbers as JSON')
    .option('-q, --quiet', 'print only the table')
    .addHelpText(
      'after',
      examples([
        'dimo eval --teacher mnist --model runs/mnist-one-step/generator --count 5000',
        'dimo eval --model mnist --no-teacher --seeds [0,1,2] --out eval.json',
      ]),
    )
    .action(async (options: Record<string, unknown>, command: Command) => {
      const { evaluate } = await import('../commands/eval.js');
      const flags = allOptions(command, options);
      result.exitCode = await evaluate({
        typed: typedSettings('eval', { ...flags, teacher: text(flags['teacher']) }),
        models: flags['model'] as string[],
        out: text(flags['out']),
        withTeacher: flags['teacher'] !== false,
        teacherIsContradicted: teacherOptions.size > 1,
        quiet: flags['quiet'] === true,
        json: flags['json'] === true,
      });
    });

  program
    .command('report')
    .description('Write report.html of a run: table, sample grids, curves and settings in one file.')
    .argument('<run>', 'folder of a run')
    .option('-o, --out <file>', 'where to write it (default: report.html in the run)')
    .option('--json', 'print what was written as JSON')
    .addHelpText('after', examples(['dimo report runs/mnist-one-step', 'dimo report runs/demo --out demo.html']))
    .action(async (run: string, options: Record<string, unknown>) => {
      const { report } = await import('../commands/report.js');
      result.exitCode = await report({ run, out: text(options['out']), json: options['json'] === true });
    });

  program
    .command('doctor')
    .description('Show every engine: available, or what is missing and the command that fixes it.')
    .option('--json', 'print as JSON')
    .option('--no-bench', 'leave out the one-second matmul rate')
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .addHelpText('after', examples(['dimo doctor', 'dimo doctor --json']))
    .action(async (options: Record<string, unknown>) => {
      const { doctor } = await import('../commands/doctor.js');
      result.exitCode = await doctor({
        json: options['json'] === true,
        bench: options['bench'] !== false,
        plugins: options['plugin'] as string[],
      });
    });

  program
    .command('info')
    .description('Describe the plugins, the configuration, a model, or a folder that dimo wrote.')
    .argument(
      '[what]',
      'plugins, samplers, algorithms, config, the name of a teacher, or a folder: run, teacher, tokenizer, generator, checkpoint, import, evaluation',
      'plugins',
    )
    .option('-c, --config <file>', 'configuration file instead of dimo.config.{yaml,json,ts}')
    .option('--set <key=value>', 'sets any key of the configuration; may be repeated', collect, [])
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .option('--json', 'print as JSON')
    .option('--no-bench', 'leave out the one-second measurement of the engine, and with it the times of the plan')
    .option('--allow-nonfinite', 'describe weights that hold NaN or infinity too')
    .addHelpText(
      'after',
      examples([
        'dimo info',
        'dimo info samplers',
        'dimo info algorithms',
        'dimo info mnist',
        'dimo info runs/demo/generator',
        'dimo info config',
      ]),
    )
    .action(async (what: string, options: Record<string, unknown>) => {
      const { info } = await import('../commands/info.js');
      result.exitCode = await info({
        what,
        typed: typedSettings('demo', options),
        json: options['json'] === true,
        allowNonFinite: options['allowNonfinite'] === true,
        bench: options['bench'] !== false,
      });
    });

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

function configured(parent: Command, name: string, key: ConfiguredCommand): Command {
  return addConfigFlags(parent.command(name), key);
}

function trainingOptions(command: Command): Command {
  return command
    .option('--resume <run>', 'continue a run from its newest checkpoint')
    .option('--resume-override <keys>', 'keys that may differ from the saved run, separated by commas', collect, [])
    .option('--strict-health', 'exit with 1 if the run ends with a destroyed result')
    .option('--json', 'print the result as JSON')
    .option('-q, --quiet', 'print only the result');
}

function trainingFlags(name: ConfiguredCommand, options: Readonly<Record<string, unknown>>): TrainingFlags {
  return {
    typed: typedSettings(name, options),
    resume: text(options['resume']),
    resumeOverride: ((options['resumeOverride'] ?? []) as string[]).flatMap((keys) => keys.split(',')),
    quiet: options['quiet'] === true,
    json: options['json'] === true,
    strictHealth: options['strictHealth'] === true,
  };
}

/** Options of a command with those of the commands above it. */
function allOptions(command: Command, options: Record<string, unknown>): Record<string, unknown> {
  return { ...command.optsWithGlobals(), ...options };
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function examples(lines: readonly string[]): () => string {
  return () => `\nExamples:\n${lines.map((line) => wrappedCommand(line, widthOf(process.stdout))).join('\n')}\n`;
}

/** A command line in lines of at most `width` characters where its words allow it, as a shell reads them together. */
function wrappedCommand(command: string, width: number): string {
  const words = command.match(/(?:'[^']*'|"[^"]*"|[^\s'"]+)+/g) ?? [];
  const lines = ['  $'];
  for (const word of words) {
    const last = lines.length - 1;
    // Two more for the backslash.
    if (lines[last]!.length + 1 + word.length <= width - 2 || lines[last] === '  $') lines[last] += ` ${word}`;
    else lines.push(`      ${word}`);
  }
  return lines.join(' \\\n');
}

/** A command and all below it. */
export function everyCommand(command: Command): Command[] {
  return [command, ...command.commands.flatMap(everyCommand)];
}
