/** What the declarations of commands share: their result, what was typed, examples in the help. */
import type { Command } from 'commander';
import { widthOf } from '../output/terminal.js';
import { addConfigFlags, type ConfiguredCommand } from './flags.js';

/** Receives the exit code of the command that ran. */
export interface ProgramResult {
  exitCode: number;
}

/** Declares a command with configuration flags. */
export function configured(parent: Command, name: string, key: ConfiguredCommand): Command {
  return addConfigFlags(parent.command(name), key);
}

/** Options of a command with those of the commands above it. */
export function allOptions(command: Command, options: Record<string, unknown>): Record<string, unknown> {
  return { ...command.optsWithGlobals(), ...options };
}

/** The text of an option, if it was given. */
export function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

/** Command lines below the help, wrapped where the terminal is narrow. */
export function examples(lines: readonly string[]): () => string {
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
