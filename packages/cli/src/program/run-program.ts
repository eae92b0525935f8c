/**
 * The command line as a function. Only commander and small files of ours are imported up front, so that `dimo --help`
 * answers at once; everything heavy is imported by the command that needs it.
 */
import { CommanderError } from 'commander';
import { exitCodeOf, printFailure } from '../output/failure.js';
import { buildProgram } from './program.js';
import { ignoreClosedPipes } from '../output/terminal.js';

/**
 * Runs one command line in this process.
 *
 * @param argv - arguments after `dimo`: `['sample', '--model', 'mnist']`.
 * @returns the exit code: 0 done, or saved and stopped; 1 failed; 2 wrong usage, configuration or input; 75 locked, try
 *   again later. (A process killed before it could save has 130 or 143 from the system.)
 */
export async function run(argv: readonly string[]): Promise<number> {
  ignoreClosedPipes();
  const debug = argv.includes('--debug');
  try {
    await refuseOtherEncodings(argv);
    if (argv[0] === 'complete' || argv[0] === 'completion') {
      const { runCompletion } = await import('./completion.js');
      return await runCompletion(argv);
    }
    const result = { exitCode: 0 };
    await buildProgram(result).parseAsync([...argv], { from: 'user' });
    return result.exitCode;
  } catch (error) {
    // Commander has printed its own message; its codes are 0 (help, version) and 1 (wrong usage).
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    printFailure(error, debug);
    return exitCodeOf(error);
  }
}

/**
 * What is no UTF-8 in an argument or in the name of the current folder reaches Node as U+FFFD: it would be another name,
 * and what is written there would be lost.
 */
async function refuseOtherEncodings(argv: readonly string[]): Promise<void> {
  const wrong = [...argv, process.cwd()].find((text) => text.includes('\ufffd'));
  if (wrong === undefined) return;
  const { OptionError } = await import('@dimo/core');
  throw new OptionError(
    `"${wrong}" is not UTF-8, or holds the character U+FFFD that stands for what could not be read`,
    {
      hint: 'rename the file or folder, or use a terminal whose encoding is UTF-8',
    },
  );
}
