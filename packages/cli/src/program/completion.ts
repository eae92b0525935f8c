/**
 * Shell completion, all of it: the only file that knows @bomb.sh/tab. `dimo completion bash` prints a script that asks
 * `dimo complete -- <words>` while one types.
 */
import tab from '@bomb.sh/tab';
import { presets } from '@dimo/presets';
import type { Command } from 'commander';
import { CommanderError } from 'commander';
import { configFlags, type ConfigFlag } from '../flags/flags.js';
import { buildProgram, everyCommand } from './program.js';
import { print, printError } from '../output/terminal.js';

/** What `dimo info` describes by name. */
const thingsToDescribe = ['plugins', 'samplers', 'algorithms', 'config', ...Object.keys(presets)];

const shells = ['bash', 'zsh', 'fish', 'powershell'];

/** The script uses a function of the package bash-completion, which not every machine has. */
const bashFallback = `if ! type -t _get_comp_words_by_ref > /dev/null; then
    _get_comp_words_by_ref() {
        cur="\${COMP_WORDS[COMP_CWORD]}"
        prev="\${COMP_WORDS[COMP_CWORD > 0 ? COMP_CWORD - 1 : 0]}"
        words=("\${COMP_WORDS[@]}")
        cword=$COMP_CWORD
    }
fi
`;

/**
 * Answers `completion <shell>` and `complete -- <words>`.
 *
 * @returns the exit code.
 */
export async function runCompletion(argv: readonly string[]): Promise<number> {
  const program = buildProgram({ exitCode: 0 });
  const [verb, ...rest] = argv;
  if (verb === 'completion') {
    const [shell] = rest;
    if (shell === undefined || !shells.includes(shell)) {
      if (rest.includes('--help') || rest.includes('-h')) await program.parseAsync([...argv], { from: 'user' });
      printError(`error: completion needs the name of your shell, one of ${shells.join(', ')}`);
      throw new CommanderError(2, 'dimo.completion', 'no shell');
    }
    describe(program);
    if (shell === 'bash') print(bashFallback);
    tab.setup('dimo', 'dimo', shell);
    return 0;
  }
  describe(program);
  const separator = rest.indexOf('--');
  tab.parse(separator < 0 ? [...rest] : rest.slice(separator + 1));
  return 0;
}

/** Tells tab every command, flag and argument. */
function describe(program: Command): void {
  addOptions(tab, program, []);
  for (const command of everyCommand(program)) {
    const names = namesOf(command);
    if (names.length === 0) continue;
    const known = tab.command(names.join(' '), command.description());
    addOptions(known, command, suggestionsOf(names.join(' ')));
    for (const argument of command.registeredArguments) {
      const choices = argument.argChoices ?? (names[0] === 'info' ? thingsToDescribe : []);
      known.argument(
        argument.name(),
        (complete) => choices.forEach((choice) => complete(choice, '')),
        argument.variadic,
      );
    }
  }
}

interface OptionHolder {
  option(
    value: string,
    description: string,
    handler?: (complete: (value: string, description: string) => void) => void,
    alias?: string,
  ): unknown;
}

function addOptions(holder: OptionHolder, command: Command, flags: readonly ConfigFlag[]): void {
  for (const option of command.createHelp().visibleOptions(command)) {
    const long = option.long?.slice(2);
    if (long === undefined) continue;
    const alias = option.short?.slice(1);
    const takesValue = option.required || option.optional;
    const suggestions = flags.find((flag) => flag.flags.startsWith(`--${long} `))?.suggestions ?? [];
    if (takesValue)
      holder.option(long, option.description, (complete) => suggestions.forEach((value) => complete(value, '')), alias);
    else holder.option(long, option.description, undefined, alias);
  }
}

function suggestionsOf(name: string): readonly ConfigFlag[] {
  return name in configFlags ? configFlags[name as keyof typeof configFlags] : [];
}

function namesOf(command: Command): string[] {
  return command.parent ? [...namesOf(command.parent), command.name()] : [];
}
