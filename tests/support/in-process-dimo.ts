/** Commands in this process (starting one for each takes seconds), in a folder that each test has afresh. */
import { run } from '@dimo/cli';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, vi } from 'vitest';

/** What a command printed, and its exit code. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder and what is run there. */
export interface DimoTrial {
  /** A path in the folder. */
  at(...parts: string[]): string;
  dimo(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CommandResult>;
  /** Runs a command that has to succeed. */
  succeed(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<CommandResult>;
  /** Runs a command that has to refuse its input with one paragraph; gives stderr. */
  fails(args: readonly string[], env?: Readonly<Record<string, string>>): Promise<string>;
}

/** A folder for every test of the file. */
export function dimoTrial(): DimoTrial {
  let folder = '';
  beforeEach(async () => void (folder = await mkdtemp(path.join(tmpdir(), 'dimo-trial-'))));
  afterEach(() => rm(folder, { recursive: true, force: true }));
  const at = (...parts: string[]): string => path.join(folder, ...parts);

  async function dimo(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandResult> {
    const output = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      vi.spyOn(process[name], 'write').mockImplementation((chunk) => ((output[name] += String(chunk)), true));
    for (const [name, value] of Object.entries({ HF_HOME: at('hf'), HF_ENDPOINT: 'http://127.0.0.1:9', ...env }))
      vi.stubEnv(name, value);
    try {
      return { code: await run(args), ...output };
    } finally {
      vi.unstubAllEnvs();
      vi.restoreAllMocks();
    }
  }

  return {
    at,
    dimo,
    async succeed(args, env) {
      const result = await dimo(args, env);
      expect(result.code, `${args.join(' ')}\n${result.stdout}${result.stderr}`).toBe(0);
      return result;
    },
    async fails(args, env) {
      const { code, stderr, stdout } = await dimo(args, env);
      expect(code, `${args.join(' ')}\n${stdout}${stderr}`).toBe(2);
      expect(stderr).not.toMatch(/^\s+at /m);
      return stderr;
    },
  };
}
