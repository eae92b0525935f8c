/** The command line in a real terminal: progress at any width, Ctrl-C, and the command that continues. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dimoCommand, runDimo } from '../support/run-dimo.js';
import { screen } from '../support/screen.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const script = fileURLToPath(new URL('../support/in-terminal.py', import.meta.url));
const hasPty = spawnSync('python3', ['-c', 'import pty, fcntl, termios']).status === 0;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'dimo terminal-'));
});
afterAll(() => rm(folder, { recursive: true }));

type Step = readonly [waitFor: string, then: string | number];

/** Runs a command in a terminal of so many columns. */
async function inTerminal(
  columns: number,
  steps: readonly Step[],
  args: readonly string[],
  env: Record<string, string> = {},
) {
  const command = [script, String(columns), JSON.stringify(steps), ...dimoCommand(args)];
  const child = spawn('python3', command, {
    cwd: tests,
    env: { ...process.env, TERM: 'xterm', npm_lifecycle_script: '', TOY_STEP_DELAY: '150', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
  const code = await new Promise((resolve) => child.on('close', resolve));
  return { code, output };
}

const distil = (name: string): string[] => [
  ...['distill', '--plugin', './support/toy-plugin.mjs', '--teacher-plugin', 'toy', '--engine', 'cpu', '--batch', '4'],
  ...['--steps', '100000', '--runs', folder, '--name', name],
  ...['--set', 'distill.sampleEvery=0', '--set', 'log.tensorboard=false'],
];

describe.skipIf(!hasPty)(
  `in a terminal${hasPty ? '' : ' (skipped: no python3 with a pty)'}`,
  { timeout: 300_000 },
  () => {
    it.each([20, 40, 80, 200])('of %i columns: Ctrl-C says how to continue, on clean lines', async (columns) => {
      const name = `it's ${columns}`;
      const { code, output } = await inTerminal(columns, [[' ETA ', '^C']], distil(name));
      expect(code, output).toBe(0);
      const lines = screen(output, columns);
      // Nothing wraps but what is longer than the terminal, so the text is put together again.
      const text = lines.map((line, i) => (line.length === columns && lines[i + 1] ? line : `${line}\n`)).join('');
      expect(text).toMatch(/^SIGINT: saving after this step, then stopping \(again to end at once\)$/m);
      expect(text).toMatch(/^stopped by SIGINT after step \d+, saved; continue with:$/m);
      const quoted = `'${path.join(folder, name).replace("'", "'\\''")}'`;
      expect(text).toContain(`\n  dimo distill --resume ${quoted} --plugin ./support/toy-plugin.mjs\n`);
      const bars = lines.filter((line) => line.includes('ETA'));
      expect(bars.length).toBe(1);
      expect(bars[0]!.length).toBeLessThanOrEqual(columns - 3);
      expect(output).not.toContain('\u001b[?25l');
    });

    it('that becomes narrower while the bar is drawn', async () => {
      const steps: Step[] = [
        [' ETA ', 30],
        // Some redraws later, in case the first ones were on their way.
        [' ETA ', 30],
        [' ETA ', 30],
        [' ETA ', '^C'],
      ];
      const { code, output } = await inTerminal(120, steps, distil('resized'));
      expect(code, output).toBe(0);
      const drawn = output.split('\r').filter((text) => text.includes(' ETA '));
      expect(screen(drawn[0]!, 1000)[0]!.length).toBeGreaterThan(27);
      expect(screen(drawn.at(-1)!, 1000)[0]!.length).toBeLessThanOrEqual(27);
    });

    it('a second Ctrl-C ends the line before it ends the process', async () => {
      const steps: Step[] = [
        [' ETA ', '^C'],
        ['again to end at once', '^C'],
      ];
      const { code, output } = await inTerminal(80, steps, distil('twice'), { TOY_STEP_DELAY: '1500' });
      expect(code, output).toBe(130);
      expect(output.endsWith('\n')).toBe(true);
    });

    it('without a cursor: lines; without colour: none, unless it is forced', async () => {
      const short = [...distil('dumb'), '--set', 'distill.numSteps=3'];
      const { output } = await inTerminal(60, [], short, { TERM: 'dumb', NO_COLOR: '' });
      expect(output).not.toContain('\u001b');
      expect(output).toMatch(/^distil 3\/3 .*ETA 0 s\r$/m);
      const wrong = ['distill', '--steps', 'x'];
      expect((await inTerminal(60, [], wrong, { NO_COLOR: '' })).output).toContain('\u001b[31merror:');
      expect((await inTerminal(60, [], wrong, { NO_COLOR: '1' })).output).not.toContain('\u001b');
    });
  },
);

describe('without a terminal', { timeout: 300_000 }, () => {
  it('plain lines, and colour where it is forced', async () => {
    const args = ['distill', '--steps', 'x'];
    expect((await runDimo(args, { cwd: tests, env: { NO_COLOR: '' } })).stderr).not.toContain('\u001b');
    const forced = await runDimo(args, { cwd: tests, env: { NO_COLOR: '', FORCE_COLOR: '1' } });
    expect(forced.stderr).toContain('\u001b[31merror:');
  });

  it.each([
    [undefined, 80],
    ['60', 60],
    ['120', 120],
    ['nonsense', 80],
  ])('help is wrapped: COLUMNS %s', async (columns, width) => {
    const env = { COLUMNS: columns ?? '' };
    const { stdout } = await runDimo(['sample', '--help'], { env });
    const longest = Math.max(...stdout.split('\n').map((line) => line.length));
    expect(longest).toBeLessThanOrEqual(width);
    expect(longest).toBeGreaterThan(width - 15);
    // Examples stay what a shell reads.
    expect(stdout.replace(/ \\\n +/g, ' ')).toContain(
      '  $ dimo sample "a red ball on a blue cube" "a boat in a cup" --model models/one-step --out pictures.png\n',
    );
  });
});
