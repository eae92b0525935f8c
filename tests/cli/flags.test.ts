/**
 * Every flag of every command, listed by commander itself: each has a row that says what it changes, so a new flag without
 * one fails. A row's command runs with and without the flag, and what it leaves behind must differ (the configuration
 * that a run records does not count); or another test file, which must name the flag, sees it at work.
 */
import { buildProgram, everyCommand } from '@dimo/cli';
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const tests = fileURLToPath(new URL('..', import.meta.url));
const loader = pathToFileURL(path.join(tests, 'support/source-loader.mjs')).href;
const runMany = path.join(tests, 'cli/run-many.mjs');

/** What shows that a flag works. */
type Row =
  | {
      /** The flag as it is typed. */
      readonly with: readonly string[];
      /** What both command lines have beside those of the command. */
      readonly base?: readonly string[];
      /** Instead of a difference: what the command prints with the flag, and not without. */
      readonly shows?: RegExp;
    }
  /** The same code as that of another command's flag of this name. */
  | { readonly asIn: string }
  | { readonly seenIn: string }
  /** Why no test sees it. */
  | { readonly notHere: string };

const plugin = ['--plugin', './support/toy-plugin.mjs'];
const cpu = ['--engine', 'cpu'];
const toy = [...plugin, '--teacher-plugin', 'toy', ...cpu];
const generator = '{shared}/r/generator';
const steps = ['--steps', '4', '--batch', '4'];
const run = ['--runs', '{own}', '--name', 'r'];
const robustness = (name: string): Row => ({ seenIn: `robustness/${name}.test.ts` });
const seen = (name: string): Row => ({ seenIn: `cli/${name}.test.ts` });
const allSeen = (name: string, ...flags: readonly string[]): Record<string, Row> =>
  Object.fromEntries(flags.map((flag) => [flag, seen(name)]));

/** The command line that flags are added to. `{own}`: an empty folder; `{shared}`: one with the run of a distillation. */
const commands: Readonly<Record<string, readonly string[]>> = {
  distill: ['distill', ...toy, ...steps, ...run],
  'train teacher': ['train', 'teacher', ...toy, '--dataset', 'toy-tokens', ...steps, ...run],
  sample: ['sample', ...plugin, ...cpu, '--out', '{own}/o.png', '--tokens', '{own}/t.json'],
  eval: [
    'eval',
    ...toy,
    '--dataset',
    'toy-tokens',
    '--set',
    'eval.metrics=[mean-token]',
    '--out',
    '{own}/e.json',
    '--count',
    '20',
    '--teacher-steps',
    '[2]',
  ],
  report: ['report', '{shared}/r'],
  'train tokenizer': 'train tokenizer --engine wasm --steps 1 --batch 4 --runs {own} --name r'.split(' '),
  info: ['info', 'config'],
  doctor: ['doctor', '--no-bench'],
};

const ofGenerator = ['--model', generator, '--count', '8'];
const ofTeacher = ['--teacher-plugin', 'toy', '--count', '8', '--steps', '3'];
const training: Readonly<Record<string, Row>> = {
  '--seed': { with: ['--seed', '3'] },
  '--engine': { with: ['--engine', 'wasm'], shows: /\bwasm\b/ },
  '--threads': { with: ['--engine', 'onnx', '--threads', '3'], shows: /3 threads/ },
  '--runs': { with: ['--runs', '{own}/more'] },
  '--name': { with: ['--name', 'other'] },
  '--checkpoint-steps': { with: ['--checkpoint-steps', '2'] },
  '--checkpoint-minutes': { with: ['--checkpoint-minutes', '0.000001'] },
  '--config': { asIn: 'info' },
  '--set': { with: ['--set', 'seed=3'] },
  '--plugin': robustness('plugins'),
  '--resume': robustness('signals'),
  '--resume-override': robustness('signals'),
  '--json': { with: ['--json'] },
  '--quiet': { with: ['--quiet'] },
  '--steps': { with: ['--steps', '5'] },
  '--batch': { with: ['--batch', '5'] },
  '--learning-rate': { with: ['--learning-rate', '0.01'] },
  '--strict-health': seen('run-folders'),
};

const rows: Readonly<Record<string, Readonly<Record<string, Row>>>> = {
  distill: {
    ...training,
    '--teacher': seen('commands'),
    '--teacher-plugin': seen('commands'),
    '--dataset': seen('commands'),
    '--algorithm': { with: ['--algorithm', 'dmo'], shows: /there is no distillation algorithm "dmo"; known are dimo/ },
    '--prompts': { with: ['--prompts', '{shared}/prompts.txt'] },
    '--guidance': { with: ['--guidance', '3'] },
    '--init-mask-ratio': { with: ['--init-mask-ratio', '0.2'] },
    '--auxiliary-learning-rate': { with: ['--auxiliary-learning-rate', '0.01'] },
    '--divergence': { with: ['--divergence', 'reverse-kl'] },
    '--beta': { with: ['--beta', '0.9'], base: ['--divergence', 'jeffreys'] },
    '--sample-every': { with: ['--sample-every', '2'] },
    '--plan': seen('info-plan'),
  },
  'train teacher': {
    ...training,
    '--teacher-plugin': seen('commands'),
    '--dataset': seen('commands'),
    '--tokenizer': seen('flags'),
    '--init': seen('train-init'),
  },
  'train tokenizer': {
    ...Object.fromEntries(Object.keys(training).map((flag): [string, Row] => [flag, { asIn: 'train teacher' }])),
    '--steps': { with: ['--steps', '2'] },
    '--batch': { with: ['--batch', '5'] },
    '--learning-rate': { with: ['--learning-rate', '0.1'] },
    '--dataset': { with: ['--dataset', 'mnits'], shows: /"mnits"/ },
  },
  sample: {
    '--teacher': seen('commands'),
    '--teacher-plugin': { with: ofTeacher },
    '--model': { with: ofGenerator, shows: /generator .*r.generator/ },
    '--count': { with: ['--count', '9'], base: ['--model', generator] },
    '--classes': { with: ['--classes', '2'], base: ofGenerator },
    '--sampler': { with: ['--sampler', 'halton'], base: ['--teacher-plugin', 'toy', '--count', '8'] },
    '--steps': { with: ['--steps', '2'], base: ['--teacher-plugin', 'toy', '--count', '8'] },
    '--guidance': { with: ['--guidance', '9'], base: ofTeacher },
    '--negative-prompt': { with: ['--negative-prompt', 'high'], base: [...ofTeacher, '--guidance', '9'] },
    '--temperature': { with: ['--temperature', '0.05'], base: ofGenerator },
    '--embedding-noise': { with: ['--embedding-noise', '0.9'], base: ofGenerator },
    '--top-k': { with: ['--top-k', '1'], base: ofGenerator },
    '--top-p': { with: ['--top-p', '0.1'], base: ofGenerator },
    '--batch': { seenIn: 'cli/commands.test.ts' },
    '--engine': { with: ['--engine', 'wasm'], base: ofGenerator, shows: /\bwasm\b/ },
    '--threads': { with: ['--engine', 'onnx', '--threads', '3'], base: ofGenerator, shows: /3 threads/ },
    '--seed': { with: ['--seed', '3'], base: ofGenerator },
    '--config': { asIn: 'info' },
    '--set': { with: ['--set', 'seed=3'], base: ofGenerator },
    '--plugin': robustness('plugins'),
    ...allSeen('init-image', '--init-image', '--mask', '--strength', '--no-composite'),
    '--out': { with: ['--out', '{own}/other.png'], base: ofGenerator },
    '--images': { with: ['--images', '{own}/images'], base: ofGenerator },
    '--tokens': { with: ['--tokens', '{own}/other.json'], base: ofGenerator },
    '--columns': { with: ['--columns', '1'], base: ofGenerator },
    '--json': { with: ['--json'], base: ofGenerator },
    '--quiet': { with: ['--quiet'], base: ofGenerator },
  },
  eval: {
    '--teacher': seen('commands'),
    '--teacher-plugin': seen('commands'),
    '--no-teacher': seen('run-folders'),
    '--sampler': { with: ['--sampler', 'halton'] },
    '--dataset': seen('commands'),
    '--model': { with: ['--model', generator] },
    '--count': { with: ['--count', '21'] },
    '--teacher-steps': { with: ['--teacher-steps', '[3, 2]'] },
    '--seeds': { with: ['--seeds', '[5]'] },
    '--batch': { seenIn: 'cli/commands.test.ts' },
    '--engine': { with: ['--engine', 'wasm'], shows: /\bwasm\b/ },
    '--threads': { with: ['--engine', 'onnx', '--threads', '3'], shows: /3 threads/ },
    '--config': { asIn: 'info' },
    '--set': { with: ['--set', 'eval.seeds=[5]'] },
    '--plugin': robustness('plugins'),
    ...allSeen('../eval/features', '--features', '--network', '--work'),
    ...allSeen('../eval/features', '--reference', '--images', '--feature-metrics', '--captions', '--text'),
    '--out': { with: ['--out', '{own}/other.json'] },
    '--json': { with: ['--json'] },
    '--quiet': { with: ['--quiet'] },
  },
  features: {
    ...allSeen('../eval/features', '--features', '--network', '--work', '--out', '--count', '--batch'),
    ...allSeen('../eval/features', '--keep-features'),
    ...allSeen('../eval/features', '--threads', '--json', '--quiet'),
  },
  'dataset info': {
    '--config': { asIn: 'info' },
    '--plugin': { asIn: 'info' },
    ...allSeen('dataset-info', '--out', '--json', '--quiet', '--set'),
  },
  runs: allSeen('watch', '--json'),
  watch: allSeen('watch', '--port', '--json'),
  report: { '--out': { with: ['--out', '{own}/x.html'] }, '--json': seen('run-folders') },
  info: {
    '--config': { with: ['--config', '{shared}/seed.yaml'] },
    '--set': { with: ['--set', 'seed=3'] },
    '--plugin': { with: [...plugin] },
    '--json': { with: ['--json'] },
    '--no-bench': seen('info-plan'),
    '--allow-nonfinite': { notHere: 'needs weights that hold NaN; the reader itself is tested (row A7)' },
  },
  demo: {
    ...Object.fromEntries(
      [
        '--json',
        '--quiet',
        '--engine',
        '--threads',
        '--seed',
        '--runs',
        '--name',
        '--config',
        '--set',
        '--plugin',
        '--strict-health',
      ].map((flag): [string, Row] => [flag, { asIn: 'distill' }]),
    ),
    '--quick': { notHere: 'trains for a minute; `npm run demo -- --quick` shows it' },
  },
  serve: {
    '--engine': { asIn: 'sample' },
    '--threads': { asIn: 'sample' },
    '--config': { asIn: 'sample' },
    '--set': { asIn: 'sample' },
    '--plugin': { asIn: 'sample' },
    ...Object.fromEntries(
      [
        '--model',
        '--host',
        '--port',
        '--allow-host',
        '--token',
        '--page',
        '--quiet',
        '--json',
        '--steps',
        '--sampler',
      ].map((flag): [string, Row] => [flag, { seenIn: 'cli/serve-flags.test.ts' }]),
    ),
  },
  import: {
    '--plugin': { asIn: 'info' },
    '--set': seen('import-checkpoints'),
    '--as': seen('import-generators'),
    ...Object.fromEntries(
      ['--out', '--teacher', '--json', '--quiet'].map((flag): [string, Row] => [flag, seen('import')]),
    ),
  },
  export: {
    '--plugin': { asIn: 'info' },
    '--config': { asIn: 'info' },
    ...Object.fromEntries(
      ['--to', '--out', '--float', '--batch', '--weights-file', '--operators', '--set', '--json', '--quiet'].map(
        (flag): [string, Row] => [flag, seen('export')],
      ),
    ),
  },
  push: {
    '--plugin': { asIn: 'info' },
    ...allSeen('push', '--create', '--private', '--message', '--dry-run', '--json', '--quiet'),
  },
  doctor: {
    '--json': { with: ['--json'] },
    '--no-bench': { seenIn: 'cli/flags.test.ts' },
    '--plugin': robustness('plugins'),
  },
};

let shared: string;
beforeAll(async () => {
  shared = await mkdtemp(path.join(tmpdir(), 'dimo-flags-'));
  await writeFile(path.join(shared, 'seed.yaml'), 'seed: 3\n');
  await writeFile(path.join(shared, 'prompts.txt'), 'low\n');
});
afterAll(() => rm(shared, { recursive: true }));

/** Runs command lines after one another in one process; the cwd is the project of the plugin. */
async function runAll(
  lines: readonly (readonly string[])[],
): Promise<{ code: number; stdout: string; stderr: string }[]> {
  const child = spawn(process.execPath, ['--conditions=@dimo/source', '--import', loader, runMany], {
    cwd: tests,
    env: { ...process.env, NO_COLOR: '1', DIMO_CACHE: path.join(shared, 'cache') },
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.end(JSON.stringify(lines));
  const output = await text(child.stdout);
  return output
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { code: number; stdout: string; stderr: string });
}

/** What a command left: files and their content, without times, and without the record of its own settings. */
function leftIn(folder: string): string {
  const hash = createHash('sha256');
  const visit = (at: string): void => {
    for (const name of readdirSync(at).sort()) {
      const file = path.join(at, name);
      if (statSync(file).isDirectory()) visit(file);
      else if (!/^(config\.(yaml|json)|events\..*|manifest\.json|report\.html)$/.test(name)) {
        const content = readFileSync(file);
        const shown = /\.jsonl?$/.test(name) ? withoutTimes(content.toString()) : content;
        hash.update(path.relative(folder, file)).update(shown);
      } else hash.update(path.relative(folder, file).replace(/events\..*/, ''));
    }
  };
  visit(folder);
  return hash.digest('hex');
}

/** Printed text or JSON without figures that no two runs share. */
function withoutTimes(printed: string): string {
  return printed
    .replace(/"[a-zA-Z/]*([sS]econds|[tT]ime|PerSecond|[mM]illiseconds|rate|eta)[a-zA-Z]*": ?[^,}\n]*/g, '')
    .replace(/\d+(\.\d+)? ?(ms|s|min|h|GFLOPS|images\/s|samples\/s|it\/s)\b/g, '');
}

const isSeen = (row: Row): row is Extract<Row, { seenIn: string }> => 'seenIn' in row;
const program = buildProgram({ exitCode: 0 });
const known = everyCommand(program).flatMap((command) => {
  const name = [command.parent?.parent ? command.parent.name() : '', command.name()].filter(Boolean).join(' ');
  return command.options
    .filter(({ long }) => long !== '--debug' && long !== '--version')
    .map((option) => ({ command: name, flag: option.long! }));
});

describe('every flag', () => {
  it('has a row that says what it changes', () => {
    expect(known.length).toBeGreaterThan(80);
    const missing = known.filter(({ command, flag }) => rows[command]?.[flag] === undefined);
    expect(missing.map(({ command, flag }) => `${command} ${flag}`)).toEqual([]);
  });

  it('that another file sees at work is named there', () => {
    for (const { command, flag } of known) {
      const row = rows[command]![flag]!;
      if ('asIn' in row) expect(rows[row.asIn]?.[flag], `${command} ${flag} as in ${row.asIn}`).toBeDefined();
      if (!isSeen(row)) continue;
      const file = path.join(tests, row.seenIn);
      expect(existsSync(file) && readFileSync(file, 'utf8').includes(flag), `${command} ${flag} in ${row.seenIn}`).toBe(
        true,
      );
    }
  });

  it('--tokenizer says where the images become tokens', { timeout: 120_000 }, async () => {
    const [result] = await runAll([
      ['train', 'teacher', '--dataset', 'mnist', '--tokenizer', path.join(shared, 'nowhere')],
    ]);
    expect(result).toMatchObject({ code: 2, stderr: expect.stringContaining('nowhere') as string });
  });

  describe.each(Object.keys(commands))('of dimo %s', (command) => {
    it('changes what is left behind or printed', { timeout: 600_000 }, async () => {
      if (!existsSync(path.join(shared, 'r')))
        await runAll([['distill', ...toy, ...steps, '--runs', shared, '--name', 'r']]);
      const cases = Object.entries(rows[command]!).flatMap(([flag, row]) => ('with' in row ? [{ flag, row }] : []));
      const runs: { key: string; own: string; argv: string[] }[] = [];
      /** Index of the run of a command line; equal ones are run once. */
      const planned = async (more: readonly string[]): Promise<number> => {
        const key = more.join(' ');
        const at = runs.findIndex((run) => run.key === key);
        if (at >= 0) return at;
        const own = path.join(shared, 'own', `${command.replace(' ', '-')}-${runs.length}`);
        await mkdir(own, { recursive: true });
        const fill = (argument: string) => argument.replace('{own}', own).replace('{shared}', shared);
        return runs.push({ key, own, argv: [...commands[command]!, ...more].map(fill) }) - 1;
      };
      const pairs: { flag: string; row: Extract<Row, { with: readonly string[] }>; without: number; with: number }[] =
        [];
      for (const { flag, row } of cases) {
        const base = row.base ?? [];
        pairs.push({ flag, row, without: await planned(base), with: await planned([...base, ...row.with]) });
      }
      const results = await runAll(runs.map(({ argv }) => argv));
      expect(results).toHaveLength(runs.length);
      const problems: string[] = [];
      for (const { flag, row, ...at } of pairs) {
        const [before, after] = [at.without, at.with].map((i) => {
          const { code, stdout, stderr } = results[i]!;
          const printed = (stdout + stderr).replaceAll(runs[i]!.own, '{own}').replace(/[\d.]+ (seconds|s)\b/g, '');
          return { code, printed, left: leftIn(runs[i]!.own) };
        }) as [{ code: number; printed: string; left: string }, { code: number; printed: string; left: string }];
        if (row.shows) {
          if (!row.shows.test(after.printed) || row.shows.test(before.printed))
            problems.push(`${flag}: ${after.printed}`);
        } else if (before.code !== 0 || after.code !== 0)
          problems.push(`${flag}: exit ${before.code} and ${after.code}\n${before.printed}${after.printed}`);
        else if (
          /quiet|json/.test(flag)
            ? before.printed === after.printed
            : before.left === after.left && withoutTimes(before.printed) === withoutTimes(after.printed)
        )
          problems.push(`${flag} changes nothing`);
      }
      expect(problems).toEqual([]);
    });
  });
});
