/**
 * A run folder from somebody else: whatever lies in it, a command neither reads nor changes what is outside it, and waits
 * for nothing. Each entry of a good run in turn is replaced by a symbolic link out of the run, one that leads nowhere, a
 * circle of links, a named pipe, a socket and a folder or file in the other's place.
 */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { run as runCommand } from '@dimo/cli';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

const toy = ['--plugin', './support/toy-plugin.mjs'];

interface CommandResult {
  readonly code: number;
  readonly output: string;
}

/** Runs a command in this process, which many cases are quicker in. */
async function dimo(args: readonly string[]): Promise<CommandResult> {
  let output = '';
  const take = (chunk: string | Uint8Array): boolean => ((output += String(chunk)), true);
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockImplementation(take));
  try {
    return { code: await runCommand([...args]), output };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
const secret = 'the content of a file outside the run';
/** The smallest PNG: its signature is enough for a report. */
const png = Buffer.from('89504e470d0a1a0a', 'hex');

let folder: string;
/** A finished run; copied for every case. */
let good: string;
let run: string;
/** What links lead to: files and folders that must stay as they are. */
let victim: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-received-'));
  good = path.join(folder, 'good');
  // Paths of plugins are relative to the folder of the command.
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  const made = await dimo([
    ...['distill', ...toy, '--teacher-plugin', 'toy', '--engine', 'cpu', '--batch', '4', '--steps', '4'],
    ...['--runs', folder, '--name', 'good', '--checkpoint-steps', '2', '--set', 'distill.sampleEvery=2'],
  ]);
  expect(made.code, made.output).toBe(0);
  // Something is left to do when it is continued.
  await rm(path.join(good, 'checkpoints', 'step-4'), { recursive: true });
  await rm(path.join(good, '.lock'), { recursive: true });
  await writeFile(path.join(good, 'samples', 'step-000002.png'), png);
  await mkdir(path.join(good, 'eval-samples'));
  await writeFile(path.join(good, 'eval-samples', '00.png'), png);
  const evaluation = { format: 'dimo-evaluation', version: 1, rows: [], pluginRows: [], notes: [], grids: ['a grid'] };
  await writeFile(path.join(good, 'eval.json'), JSON.stringify({ ...evaluation, engine: {} }));
}, 120_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

beforeEach(async () => {
  [run, victim] = [path.join(folder, 'received'), path.join(folder, 'victim')];
  for (const place of [run, victim]) await rm(place, { recursive: true, force: true });
  await cp(good, run, { recursive: true });
  // As tempting as possible: names that a command would overwrite or tidy up.
  await cp(good, victim, { recursive: true });
  await cp(path.join(good, 'checkpoints'), victim, { recursive: true });
  await mkdir(path.join(victim, 'tmp-mine-999999999'));
  await mkdir(path.join(victim, '.lock'), { recursive: true });
  for (const name of ['secret', 'config.json', '00.png', '00000001', 'new-1-x', 'tmp-mine-999999999/thesis.txt'])
    await writeFile(path.join(victim, name), secret);
});

/** Names and contents of everything in a folder. */
async function contentOf(place: string): Promise<Record<string, string>> {
  const names = (await readdir(place, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const paths = names.map((entry) => path.join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(await Promise.all(paths.map(async (name) => [name, await readFile(name, 'hex')])));
}

const resume = (): Promise<CommandResult> => dimo(['distill', ...toy, '--resume', run, '-q']);
const report = (): Promise<CommandResult> => dimo(['report', run]);
const info = (): Promise<CommandResult> => dimo(['info', ...toy, run]);
const sample = (): Promise<CommandResult> =>
  dimo(['sample', ...toy, '--model', run, '--engine', 'cpu', '-o', path.join(folder, 'out.png')]);

/** Puts something else in the place of an entry. */
const replacements: Readonly<Record<string, (place: string) => void | Promise<void>>> = {
  'a link to a file': (place) => symlink(path.join(victim, 'secret'), place),
  'a link to a folder': (place) => symlink(victim, place),
  'a link to nowhere': (place) => symlink(path.join(folder, 'victim', 'absent'), place),
  'a link through the folder above': (place) => symlink(path.join(path.relative(path.dirname(place), victim)), place),
  'a circle of links': (place) => symlink(path.basename(place), place),
  'a named pipe': (place) => void execFileSync('mkfifo', [place]),
  'a device': (place) => symlink('/dev/zero', place),
};

/** Entries by the commands that read them or write to them. */
const entries: readonly (readonly [entry: string, commands: Readonly<Record<string, () => Promise<CommandResult>>>])[] =
  [
    ['config.yaml', { resume, report }],
    ['checkpoints', { resume, info }],
    ['checkpoints/step-2', { resume }],
    ['checkpoints/step-2/state.json', { resume }],
    ['checkpoints/step-2/ema.safetensors', { resume }],
    ['.lock', { resume }],
    ['.lock/00000007', { resume }],
    ['generator', { resume, sample }],
    ['generator/config.json', { sample }],
    ['generator/model.safetensors', { sample }],
    ['samples', { resume, report }],
    ['samples/step-000002.png', { report }],
    ['metrics.jsonl', { resume, report }],
    ['eval.json', { report }],
    ['eval-samples', { report }],
    ['eval-samples/00.png', { report }],
  ];

describe.skipIf(process.platform === 'win32')('a received run', { timeout: 400_000 }, () => {
  it.each(entries)('%s', async (entry, commands) => {
    const before = await contentOf(victim);
    for (const [what, put] of Object.entries(replacements)) {
      await rm(run, { recursive: true });
      await cp(good, run, { recursive: true });
      const place = path.join(run, entry);
      await mkdir(path.dirname(place), { recursive: true });
      await rm(place, { recursive: true, force: true });
      await put(place);
      for (const [command, start] of Object.entries(commands)) {
        const { code, output } = await start();
        const where = `${command}, ${what}: ${output}`;
        expect(code, where).toBe(2);
        expect(output, where).toMatch(/error: /);
        expect(output, where).not.toContain('unexpected failure');
        expect(output, where).not.toContain(secret);
        expect(await readdir(path.dirname(place)), where).not.toContain('report.html');
      }
    }
    expect(await contentOf(victim)).toEqual(before);
  });

  it('links that stay inside are followed, and so is the one that the user names', async () => {
    await rename(path.join(run, 'samples'), path.join(run, 'pictures'));
    await symlink('pictures', path.join(run, 'samples'));
    await symlink(run, path.join(folder, 'named'));
    run = path.join(folder, 'named');
    for (const command of [report, info, resume, sample]) {
      const { code, output } = await command();
      expect(code, output).toBe(0);
    }
    expect(await readFile(path.join(run, 'report.html'), 'utf8')).toContain(png.toString('base64'));
    await rm(path.join(folder, 'named'));
  });

  it('a file where a link was expected to write is replaced, not written through', async () => {
    await symlink(path.join(victim, 'secret'), path.join(run, 'report.html'));
    expect((await report()).code).toBe(0);
    expect(await readFile(path.join(victim, 'secret'), 'utf8')).toBe(secret);
    expect(await readFile(path.join(run, 'report.html'), 'utf8')).toContain('<!doctype html>');
  });

  it('a socket is no file', async () => {
    await rm(path.join(run, 'metrics.jsonl'));
    const server = createServer().listen(path.join(run, 'metrics.jsonl'));
    await new Promise((resolve) => server.once('listening', resolve));
    const { code, output } = await report();
    expect([code, output]).toEqual([2, expect.stringContaining('not a regular file')]);
    await new Promise((resolve) => server.close(resolve));
  });

  it('what is no picture is in no report', async () => {
    await writeFile(path.join(run, 'samples', 'x.png'), secret);
    const { code, output } = await report();
    expect([code, output]).toEqual([2, expect.stringContaining('is no PNG')]);
  });
});
