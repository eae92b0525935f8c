/** The examples that `--help` shows are commands that there are, with flags that they have. */
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { buildProgram } from './program.js';

const program = buildProgram({ exitCode: 0 });

/** All commands with their names as typed: `train teacher`. */
function commandsOf(command: Command, path: readonly string[] = []): [string, Command][] {
  return command.commands.flatMap((child) => {
    const own = [...path, child.name()];
    return [[own.join(' '), child] as [string, Command], ...commandsOf(child, own)];
  });
}

const commands = new Map(commandsOf(program));

function examplesOf(command: Command): string[] {
  let help = '';
  command.configureOutput({ writeOut: (text) => (help += text) });
  command.outputHelp();
  // Long ones are wrapped as a shell reads them together.
  return [...help.replace(/\s*\\\n\s*/g, ' ').matchAll(/^ +\$ (.*)$/gm)].map(([, line]) => line!);
}

/** Words of a command line; quotes keep words together. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
    ([, double, single, plain]) => double ?? single ?? plain!,
  );
}

const examples = [...commands].flatMap(([name, command]) =>
  // Behind variables of the environment, or within what a shell reads; others than `dimo` are not looked at.
  examplesOf(command).flatMap((line): [string, string][] => {
    const own = /\bdimo [^)|#>]*/.exec(line)?.[0].trim();
    return own === undefined ? [] : [[name, own]];
  }),
);

describe('examples of --help', () => {
  it('are there for every command that does something', () => {
    const shown = new Set(examples.map(([name]) => name));
    for (const [name, command] of commands) if (command.commands.length === 0) expect([...shown], name).toContain(name);
  });

  it.each(examples)('%s: %s', (name, line) => {
    const [, ...words] = wordsOf(line);
    const depth = commands.has(words.slice(0, 2).join(' ')) ? 2 : 1;
    const command = commands.get(words.slice(0, depth).join(' '));
    expect(command, line).toBeDefined();
    const rest = words.slice(depth);
    for (const flag of rest.filter((word) => /^--?[a-z]/.test(word))) {
      const known = [...command!.options, ...program.options].flatMap(({ short, long }) => [short, long]);
      expect(known, `${name}: ${flag}`).toContain(flag.replace(/=.*$/, ''));
    }
    const { operands, unknown } = command!.parseOptions(rest);
    expect(unknown).toEqual([]);
    const most = command!.registeredArguments.some(({ variadic }) => variadic)
      ? Infinity
      : command!.registeredArguments.length;
    expect(operands.length, `${line}: words that are no option`).toBeLessThanOrEqual(most);
  });
});
