/** Flags and help of `dimo export`; its work is imported when it runs. */
import { Option, type Command } from 'commander';
import { examples, text, type ProgramResult } from '../flags/command.js';
import { collect, typedSettings } from '../flags/flags.js';

/** Adds `dimo export`. */
export function addExport(parent: Command, result: ProgramResult): void {
  parent
    .command('export')
    .description('Write a model as files for other programs: one ONNX file from random numbers to pixels, or weights.')
    .argument(
      '<model>',
      'a generator: mnist, or a folder written by dimo distill or dimo import; a teacher for weights',
    )
    .argument('[prompts...]', 'prompts or classes whose conditions are written beside an ONNX file')
    .addOption(
      new Option('--to <format>', 'what to write; weights have their original names')
        .choices(['onnx', 'safetensors', 'pytorch'])
        .default('onnx'),
    )
    .option('-o, --out <folder>', 'new folder to write (default: exported/<name>)')
    .addOption(
      new Option('--float <type>', 'how weights are stored; F16 halves the files')
        .choices(['F32', 'F16'])
        .default('F32'),
    )
    .option('--batch <n>', 'onnx: pictures of a call, or dynamic (default: dynamic)')
    .option('--weights-file', 'onnx: weights in a file of their own, as those of more than 2 GB must be')
    .addOption(
      new Option('--operators <set>', 'onnx: microsoft for the faster operators that onnxruntime alone has')
        .choices(['standard', 'microsoft'])
        .default('standard'),
    )
    .option('-c, --config <file>', 'configuration file instead of dimo.config.{yaml,json,ts}')
    .option('--set <key=value>', 'sets sample.temperature, sample.topK and so on; may be repeated', collect, [])
    .option('--plugin <package|path>', 'adds a plugin; may be repeated', collect, [])
    .option('--json', 'print what was written as JSON')
    .option('-q, --quiet', 'print nothing')
    .addHelpText(
      'after',
      examples([
        'dimo export mnist',
        'dimo export runs/mnist-one-step --float F16 --out mnist-onnx',
        'dimo export emoji "a red apple" "blue heart" --out emoji-onnx',
        'dimo export runs/mnist-one-step --to pytorch',
      ]),
    )
    .action(async (model: string, prompts: string[], options: Record<string, unknown>) => {
      const { exportModel } = await import('./export.js');
      result.exitCode = await exportModel({
        model,
        prompts,
        to: options['to'] as 'onnx',
        out: text(options['out']),
        float: options['float'] as 'F32',
        batch: text(options['batch']),
        isWeightsFile: options['weightsFile'] === true,
        operators: options['operators'] as 'standard',
        typed: typedSettings('demo', options),
        quiet: options['quiet'] === true,
        json: options['json'] === true,
      });
    });
}
