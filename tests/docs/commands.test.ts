/**
 * Every command in a fenced `sh` block of the READMEs and documents, in the examples of the help, and in the lists of
 * `runs/` is one that the command line accepts: its name, its flags, its keys and their values. What it does is seen elsewhere.
 * Scripts and files that are run by `npm run` and `node` are there.
 */
import { buildProgram, everyCommand, loadConfig } from '@dimo/cli';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { configFlags, typedSettings } from '../../packages/cli/src/flags/flags.js';
import { fencedBlocks, markdownFiles } from './fenced-blocks.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
type Configured = keyof typeof configFlags;

interface ShellCommand {
  readonly place: string;
  /** Folder of the document. */
  readonly folder: string;
  readonly words: readonly string[];
}

/** The words of a command line without its remark, up to what its output goes to. */
function wordsOf(line: string): string[] {
  const words = (line.match(/(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+/g) ?? []) as string[];
  const end = words.findIndex((word) => /^(#.*|&&|\|\|?|>|;|&)$/.test(word));
  const own = end < 0 ? words : words.slice(0, end);
  return own.filter((word) => !/^[A-Z_]+=/.test(word)).map((word) => word.replace(/'([^']*)'|"([^"]*)"/g, '$1$2'));
}

/** Commands of a text, lines that end with a backslash joined to the next. */
function shellCommands(text: string, place: string, folder: string): ShellCommand[] {
  const lines = text.replaceAll(/\\\n\s*/g, '').split('\n');
  return lines.map((line) => ({ place, folder, words: wordsOf(line) })).filter(({ words }) => words.length > 0);
}

const written = [...markdownFiles(root)].flatMap((document) =>
  fencedBlocks(document, /^(sh|bash)$/).flatMap(({ place, code }) =>
    shellCommands(code, place, path.dirname(document)),
  ),
);

function ofHelp(): ShellCommand[] {
  return everyCommand(buildProgram({ exitCode: 0 })).flatMap((command) => {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    const shown = [...help.matchAll(/^ {2}\$ ((?:.*\\\n)*.*)$/gm)].map(([, text]) => text!).join('\n');
    return shellCommands(shown, `dimo ${command.name()} --help`, root);
  });
}

/** Arguments of `dimo`, however it is started. */
function dimoArguments({ words }: ShellCommand): readonly string[] | undefined {
  const text = words.join(' ');
  const prefix = ['dimo ', 'npx dimo ', 'npm run -s dimo -- '].find((start) => text.startsWith(start));
  return prefix === undefined ? undefined : words.slice(prefix.trim().split(' ').length);
}

let folder: string;
beforeAll(() => void (folder = mkdtempSync(path.join(tmpdir(), 'dimo-commands-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Why a command line is refused, if it is. */
async function refusal(args: readonly string[]): Promise<string | undefined> {
  const program = buildProgram({ exitCode: 0 });
  let message = '';
  let settings: Parameters<typeof loadConfig>[0] = {};
  for (const command of everyCommand(program)) {
    command.exitOverride().configureOutput({ writeErr: (text) => (message += text), writeOut: () => {} });
    const name = command.parent?.parent ? `${command.parent.name()} ${command.name()}` : command.name();
    if (command.commands.length === 0)
      command.action(() => {
        if (name in configFlags)
          settings = { settings: typedSettings(name as Configured, command.optsWithGlobals()).settings };
      });
  }
  try {
    await program.parseAsync([...args], { from: 'user' });
    await loadConfig({ ...settings, folder });
    return undefined;
  } catch (error) {
    const { code } = error as { code?: string };
    return code === 'commander.helpDisplayed' ? undefined : message || (error as Error).message;
  }
}

async function refused(commands: readonly ShellCommand[]): Promise<string[]> {
  const found: string[] = [];
  for (const command of commands) {
    const why = await refusal(dimoArguments(command)!);
    if (why !== undefined) found.push(`${command.place}: dimo ${dimoArguments(command)!.join(' ')}: ${why}`);
  }
  return found;
}

describe('commands of the documents', () => {
  it('a wrong flag, key or value would be noticed', async () => {
    expect(await refusal(['sample', '--cout', '3'])).toContain("unknown option '--cout'");
    expect(await refusal(['distill', '--set', 'distill.numStep=3'])).toContain('did you mean "numSteps"');
    expect(await refusal(['eval', '--seeds', 'three'])).toContain('eval.seeds');
    expect(wordsOf(`dimo sample "a b" --set 'x=[1]'   # a remark`)).toEqual([
      'dimo',
      'sample',
      'a b',
      '--set',
      'x=[1]',
    ]);
  });

  it('dimo accepts those of READMEs and documents', async () => {
    const commands = written.filter(dimoArguments);
    expect(commands.length).toBeGreaterThan(40);
    expect(await refused(commands)).toEqual([]);
  });

  it('dimo accepts the examples of its own help', async () => {
    const commands = ofHelp().filter(dimoArguments);
    expect(commands.length).toBeGreaterThan(30);
    expect(await refused(commands)).toEqual([]);
  });

  it('what `npm run` and `node` are given is there', () => {
    const scriptsOf = (place: string): object =>
      (JSON.parse(readFileSync(path.join(place, 'package.json'), 'utf8')) as { scripts: object }).scripts;
    const missing = written.flatMap(({ place, folder: near, words }) => {
      const [program, ...args] = words;
      const what = args.find((word) => !word.startsWith('-') && word !== 'run');
      if (what === undefined) return [];
      const places = [root, near];
      if (program === 'npm' && args[0] === 'run')
        return places.some((at) => existsSync(path.join(at, 'package.json')) && what in scriptsOf(at))
          ? []
          : [`${place}: npm run ${what}`];
      if (program === 'node' && /\.[cm]?[jt]s$/.test(what))
        return places.some((at) => existsSync(path.join(at, what))) ? [] : [`${place}: node ${what}`];
      return [];
    });
    expect(missing).toEqual([]);
  });
});

describe.each(readdirSync(path.join(root, 'runs')).filter((name) => name.endsWith('.mjs')))('runs/%s', (name) => {
  it.each([[['--print']], [['--print', '--tiny']]])(
    'is a list of commands that dimo accepts, with %j',
    async (args) => {
      const printed = execFileSync(process.execPath, [path.join(root, 'runs', name), ...args], { encoding: 'utf8' });
      const commands = shellCommands(printed, `runs/${name}`, root);
      expect(commands.length).toBeGreaterThan(3);
      expect(await refused(commands.filter(dimoArguments))).toEqual([]);
    },
  );

  it('is named by the document that it repeats and by the page of results, and names the document', () => {
    const [document] = /docs\/[\w-]+\.md/.exec(readFileSync(path.join(root, 'runs', name), 'utf8')) ?? [];
    expect(document).toBeDefined();
    for (const file of [document!, 'apps/site/pages/results.md'])
      expect([file, readFileSync(path.join(root, file), 'utf8').includes(`node runs/${name}`)]).toEqual([file, true]);
  });
});
