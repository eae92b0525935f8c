/** Completion in the real shells: the script is sourced, and the shell's own machinery is asked. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dimoProgram } from '../support/dimo-program.js';
import { runDimo } from '../support/run-dimo.js';

const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;
let folder: string;
let environment: NodeJS.ProcessEnv;

beforeAll(async () => {
  // A `dimo` on the PATH.
  folder = mkdtempSync(path.join(tmpdir(), 'dimo-completion-'));
  const command = path.join(folder, 'dimo');
  writeFileSync(
    command,
    `#!/bin/sh\nexec ${[process.execPath, ...dimoProgram].map((word) => `'${word}'`).join(' ')} "$@"\n`,
  );
  chmodSync(command, 0o755);
  environment = { ...process.env, PATH: `${folder}:${process.env['PATH']}` };
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await runDimo(['completion', shell]);
    expect(code).toBe(0);
    writeFileSync(path.join(folder, `script.${shell}`), stdout);
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Candidates that bash offers for the last word. */
function bashCompletions(words: readonly string[]): string[] {
  const list = words.map((word) => `'${word}'`).join(' ');
  const script = `
    source '${path.join(folder, 'script.bash')}'
    compopt() { :; }
    COMP_WORDS=(${list}); COMP_CWORD=${words.length - 1}
    COMP_LINE="\${COMP_WORDS[*]}"; COMP_POINT=\${#COMP_LINE}
    __dimo_complete
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, status, stderr } = spawnSync('bash', ['--norc', '-c', script], {
    encoding: 'utf8',
    env: environment,
  });
  expect(status, stderr).toBe(0);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split(/\s/)[0]!);
}

describe('completion', { timeout: 60_000 }, () => {
  it.skipIf(!has('bash'))('bash: commands, subcommands, flags and values', () => {
    expect(bashCompletions(['dimo', 'di'])).toEqual(['distill']);
    expect(bashCompletions(['dimo', 'train', ''])).toEqual(['tokenizer', 'teacher']);
    expect(bashCompletions(['dimo', 'sample', '--co'])).toEqual(expect.arrayContaining(['--count', '--columns']));
    expect(bashCompletions(['dimo', 'distill', '--engine', 'onnx-'])).toEqual([
      'onnx-native',
      'onnx-webgpu',
      'onnx-cuda',
    ]);
    expect(bashCompletions(['dimo', 'completion', 'z'])).toEqual(['zsh']);
  });

  it.skipIf(!has('zsh'))('zsh accepts the script and registers dimo', () => {
    const script = `autoload -U compinit && compinit -u; source '${path.join(folder, 'script.zsh')}'; print -- $_comps[dimo]`;
    const { stdout, status, stderr } = spawnSync('zsh', ['-f', '-c', script], { encoding: 'utf8', env: environment });
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('dimo');
  });

  it.skipIf(!has('fish'))('fish: commands and values', () => {
    const script = `source '${path.join(folder, 'script.fish')}'; complete -C 'dimo di'; complete -C 'dimo distill --engine on'`;
    const { stdout, status, stderr } = spawnSync('fish', ['--no-config', '-c', script], {
      encoding: 'utf8',
      env: environment,
    });
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('distill');
    expect(stdout).toContain('onnx');
  });

  it('an unknown shell is wrong usage', async () => {
    const { code, stderr } = await runDimo(['completion', 'tcsh']);
    expect(code).toBe(2);
    expect(stderr).toContain('bash, zsh, fish');
  });
});
