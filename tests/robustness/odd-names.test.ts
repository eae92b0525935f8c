/**
 * Row B8: folders with names that people and scripts produce, through the whole way from training to a picture, and names
 * that no program can take. Row D4: prompts and classes that are too long, empty, no text or out of range, by command line
 * and over HTTP: each is a clear error.
 */
import { run as runCommand, serveModel, startServer, findModel, loadRegistry } from '@dimo/cli';
import { chooseEngine, nodeEngines } from '@dimo/backend-node';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { dimoProgram } from '../support/dimo-program.js';
import { post, send } from './hostile-requests.js';

const toy = ['--plugin', './support/toy-plugin.mjs'];
let folder: string;
const home = process.cwd();

beforeAll(async () => {
  process.chdir(fileURLToPath(new URL('..', import.meta.url)));
  folder = await mkdtemp(path.join(tmpdir(), 'dimo-odd-'));
});
afterAll(async () => {
  process.chdir(home);
  await rm(folder, { recursive: true });
});

async function dimo(args: readonly string[]): Promise<{ code: number; output: string }> {
  let output = '';
  const take = (chunk: string | Uint8Array): boolean => ((output += String(chunk)), true);
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, 'write').mockImplementation(take));
  try {
    return { code: await runCommand([...args]), output };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

const distill = (...args: string[]): string[] => [
  ...['distill', ...toy, '--teacher-plugin', 'toy', '--engine', 'cpu', '--batch', '2', '--steps', '2', '-q', ...args],
];

const oddNames: readonly string[] = [
  'with spaces',
  ' a space before and after ',
  'two\nlines',
  'a\ttab',
  'emoji 🎉👩‍🔬',
  '-q',
  '--help',
  '100% done %20',
  'hash#mark',
  'what?',
  'a&b;c|d$(e)`f`',
  'größe ñ 中文 \u0301',
  `it's "quoted"`,
  'back\\slash',
  '[brackets] {a,b} *',
];

describe.skipIf(process.platform === 'win32')('folders with odd names', { timeout: 300_000 }, () => {
  it.each(oddNames)('%j: train, resume, report, describe and sample', async (name) => {
    const runs = path.join(folder, name);
    const run = path.join(runs, 'run');
    const out = path.join(runs, 'picture.png');
    const commands = [
      distill(`--runs=${runs}`, '--name', 'run'),
      ['distill', ...toy, `--resume=${run}`, '-q'],
      ['report', run],
      ['info', ...toy, run],
      ['sample', ...toy, `--model=${path.join(run, 'generator')}`, '--engine', 'cpu', `--out=${out}`, '--count', '2'],
    ];
    for (const args of commands) {
      const { code, output } = await dimo(args);
      expect(code, `${args.join(' ')}: ${output}`).toBe(0);
      // Whatever is in a name, it does not reach the terminal raw.
      expect(output.split('\n').join(''), args[0]).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/);
    }
    expect((await readFile(out)).subarray(1, 4).toString()).toBe('PNG');
    expect(await readFile(path.join(run, 'report.html'), 'utf8')).toContain('<!doctype html>');
  });

  it('a name that is no UTF-8 is refused, and nothing is made', async () => {
    const odd = path.join(folder, 'no-utf8');
    await mkdir(odd);
    // Bytes that Node hands on as U+FFFD: another folder than the one that was meant.
    const command = `exec ${process.execPath} ${dimoProgram.join(' ')} ${distill().join(' ')} --runs ${odd}/$(printf 'caf\\xe9') 2>&1`;
    let output = '';
    try {
      output = execFileSync('bash', ['-c', command], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C.UTF-8' } });
    } catch (error) {
      const failed = error as { status: number; stdout: string };
      output = failed.stdout;
      expect([failed.status, output]).toEqual([2, expect.stringContaining('UTF-8')]);
    }
    expect(output).toContain('error:');
    expect(await readdir(odd)).toEqual([]);
  });

  it.each([
    ['nothing', ''],
    ['spaces', '  '],
    ['a parent', '..'],
    ['this folder', '.'],
    ['a path', '../outside'],
    ['an absolute path', '/tmp/dimo-absolute'],
    ['a path below', 'a/b'],
    ['a path of Windows', 'a\\b'],
    ['a drive', 'C:\\x'],
    ['a hidden name', '.shared'],
    ['a dash', '-rf'],
    ['a device', 'CON'],
    ['a device with an ending', 'nul.txt'],
    ['another device', 'com1'],
    ['a dot at the end', 'run.'],
    ['a space at the end', 'run '],
    ['a line end', 'a\nb'],
    ['an escape', '\u001b[2J'],
    ['a NUL', 'a\0b'],
    ['a turn of direction', 'a\u202eb'],
    ['too many bytes', 'é'.repeat(128)],
  ])('--name: %s is refused, and nothing is made', async (_what, name) => {
    const runs = path.join(folder, 'names');
    const { code, output } = await dimo(distill(`--runs=${runs}`, `--name=${name}`));
    expect([code, output]).toEqual([2, expect.stringContaining('error:')]);
    expect(output.split('\n').join('')).not.toMatch(/[\u0000-\u001f\u007f\u202e]/);
    expect(await readdir(runs).catch(() => [])).toEqual([]);
    expect(await readdir(folder)).not.toContain('outside');
  });

  it('--name: ordinary names of all languages, and 255 bytes, are fine', async () => {
    for (const name of ['cats 2', 'größe', '猫', 'v1.2', 'console', 'x'.repeat(255)]) {
      const { code, output } = await dimo(distill(`--runs=${path.join(folder, 'good')}`, `--name=${name}`));
      expect(code, output).toBe(0);
    }
  });
});

describe('prompts and classes that make no sense', { timeout: 300_000 }, () => {
  const long = 'x'.repeat(1_000_000);
  const classes: readonly (readonly [what: string, text: string])[] = [
    ['a million characters', long],
    ['a million numbers', Array.from({ length: 500_000 }, () => '1').join()],
    ['nothing', ''],
    ['spaces', '   '],
    ['a lone surrogate', '\ud800'],
    ['a NUL', 'a\0b'],
    ['a class that is none', '1000'],
    ['a negative one', '-1'],
    ['a fraction', '3.5'],
    ['an exponent', '1e0'],
    ['a hexadecimal number', '0x1'],
    ['a huge number', '9'.repeat(400)],
    ['no number', 'NaN'],
    ['a range that goes on', '0-999999999'],
    ['a range backwards', '9-0'],
    ['an empty part', '1,,2'],
    ['a property of every object', '__proto__'],
  ];

  it.each(classes)('%s: refused by the command line', async (_what, text) => {
    const out = path.join(folder, 'no-picture.png');
    const started = performance.now();
    for (const flags of [[`--classes=${text}`], ['--', text]]) {
      const args = ['sample', '--model', 'mnist', '--engine', 'cpu', '-o', out, '--count', '1', ...flags];
      const { code, output } = await dimo(args);
      expect(code, output.slice(0, 2000)).toBe(2);
      expect(output).toMatch(/error: /);
      expect(output).not.toContain('unexpected failure');
      expect(output.length).toBeLessThan(5000);
      expect(output.split('\n').join('')).not.toMatch(/[\u0000-\u001f\u007f]/);
    }
    expect(performance.now() - started).toBeLessThan(60_000);
    expect(await readdir(folder)).not.toContain('no-picture.png');
  });

  it('all of them over HTTP', async () => {
    const { engine } = await chooseEngine('cpu', { engines: Object.values(nodeEngines) });
    const found = await findModel('mnist', await loadRegistry([], process.cwd(), ['teachers']));
    const model = await serveModel(engine, 'mnist', found);
    const server = await startServer({ models: [model], port: 0 });
    const ask = async (body: unknown): Promise<number> =>
      (await send(post(server.port, JSON.stringify(body)), server.port)).status;
    for (const [what, text] of classes) {
      for (const body of [{ classes: text }, { classes: [text] }, { prompts: [text] }])
        expect([400, 413], `${what}: ${JSON.stringify(body).slice(0, 80)}`).toContain(await ask(body));
    }
    for (const value of [1000, -1, 3.5, 1e308, null, true, {}, [[1]], [null], [1000], [-1], [3.5], [true]])
      expect(await ask({ classes: value }), JSON.stringify(value)).toBe(400);
    await server.close();
    await model.dispose();
    await engine.dispose();
  });
});
