/** Commands that can be pasted: quoting, and what a run folder cannot bring itself. */
import { execFileSync } from 'node:child_process';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { resumeCommand, shellQuoted } from './resume-command.js';

const typed = { file: undefined, settings: [], plugins: [] };
afterEach(() => vi.unstubAllEnvs());

describe('the command that continues a run', () => {
  it('names the run, plugins again, and a configuration file only where plugins depend on it', () => {
    vi.stubEnv('npm_lifecycle_script', undefined);
    expect(resumeCommand('train teacher', 'runs/a', typed)).toBe('dimo train teacher --resume runs/a');
    expect(resumeCommand('distill', '-runs/a b', { ...typed, plugins: ['./my plugin.mjs'] })).toBe(
      "dimo distill --resume './-runs/a b' --plugin './my plugin.mjs'",
    );
    const settings = [{ path: 'distill.numSteps', text: '5', where: '' }];
    const withFile = { file: 'conf/d.yaml', settings, plugins: [] };
    expect(resumeCommand('distill', 'r', withFile)).toBe('dimo distill --resume r');
    expect(resumeCommand('distill', 'r', withFile, ['./in-the-file.mjs'])).toBe(
      'dimo distill --resume r --config conf/d.yaml --set distill.numSteps=5',
    );
    vi.stubEnv('npm_lifecycle_script', 'dimo distill');
    expect(resumeCommand('distill', 'r', typed)).toBe('npx dimo distill --resume r');
  });

  it
    .skipIf(process.platform === 'win32')
    .each([
      'plain/path-1.x',
      'with space',
      "it's",
      'a"b',
      '$HOME `x` \\',
      'emoji-🎲',
      '*?[a]{b,c}',
      '~',
      '',
      '#x;y&z|!',
      'two\nlines',
    ])('%j reaches a program as it is', (word) => {
    const printed = execFileSync('sh', ['-c', `printf '%s.' ${shellQuoted(word)}`], { encoding: 'utf8' });
    expect(printed).toBe(`${word}.`);
  });

  it('is quoted as Windows has it', () => {
    expect(shellQuoted('C:\\runs\\a', 'win32')).toBe('C:\\runs\\a');
    expect(shellQuoted('C:\\my runs\\a', 'win32')).toBe('"C:\\my runs\\a"');
  });
});
