/**
 * Row C6 of the fault list: no decision rests on wall time. A run whose clock jumps by a year, either way, in any time zone,
 * ends with the same weights; stamps are UTC in ISO 8601; ages and durations come from a clock that only goes forward.
 */
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { runDimo } from '../support/run-dimo.js';

const tests = fileURLToPath(new URL('..', import.meta.url));
const packages = path.join(tests, '..', 'packages');
const folder = mkdtempSync(path.join(tmpdir(), 'dimo-clock-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A clock that jumps by `years` at the fifth look, and every fifth one after that back and forth. */
const jumpingClock = `
const real = Date.now.bind(Date);
const RealDate = Date;
const jump = Number(process.env.CLOCK_JUMP) * 365.25 * 86400e3;
let looks = 0;
const now = () => real() + (Math.floor(++looks / 5) % 2 === 1 ? jump : 0);
globalThis.Date = class extends RealDate {
  constructor(...args) { if (args.length === 0) super(now()); else super(...args); }
  static now() { return now(); }
};
`;
const clock = path.join(folder, 'clock.mjs');
writeFileSync(clock, jumpingClock);

interface Trained {
  readonly weights: string;
  readonly seconds: readonly number[];
  readonly stamps: readonly string[];
}

async function train(name: string, env: Readonly<Record<string, string>>): Promise<Trained> {
  const runs = path.join(folder, name);
  await mkdir(runs);
  const { code, stderr } = await runDimo(
    [
      'distill',
      '--plugin',
      './support/toy-plugin.mjs',
      '--teacher-plugin',
      'toy',
      '--engine',
      'cpu',
      '--steps',
      '12',
    ].concat([
      '--batch',
      '4',
      '--checkpoint-steps',
      '4',
      '--checkpoint-minutes',
      '1000',
      '--runs',
      runs,
      '--name',
      'r',
    ]),
    { cwd: tests, env },
  );
  expect(code, stderr).toBe(0);
  const weights = readFileSync(path.join(runs, 'r/generator/model.safetensors'));
  expect(
    readdirSync(path.join(runs, 'r/checkpoints'))
      .filter((file) => file.startsWith('step-'))
      .sort(),
  ).toEqual(['step-12', 'step-4', 'step-8']);
  const lines = readFileSync(path.join(runs, 'r/metrics.jsonl'), 'utf8').trim().split('\n');
  const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  const lock = readdirSync(path.join(runs, 'r/.lock')).map((file) =>
    readFileSync(path.join(runs, 'r/.lock', file), 'utf8'),
  );
  return {
    weights: createHash('sha256').update(weights).digest('hex'),
    seconds: entries.flatMap((entry) =>
      Object.entries(entry).flatMap(([key, value]) => (/[sS]econds/.test(key) ? [Number(value)] : [])),
    ),
    stamps: lock.map((text) => (JSON.parse(text) as { since: string }).since),
  };
}

describe('the clock', { timeout: 300_000 }, () => {
  it('jumps of a year mid-run and four time zones change no weight', async () => {
    const preload = `--import=${pathToFileURL(clock).href}`;
    const plain = await train('plain', { TZ: 'UTC' });
    const cases: [string, Record<string, string>][] = [
      ['a year on', { NODE_OPTIONS: preload, CLOCK_JUMP: '1', TZ: 'America/St_Johns' }],
      ['a year back', { NODE_OPTIONS: preload, CLOCK_JUMP: '-1', TZ: 'Pacific/Kiritimati' }],
      ['seventy-five years on', { NODE_OPTIONS: preload, CLOCK_JUMP: '75', TZ: 'Asia/Kathmandu' }],
      ['no time zone', { TZ: '' }],
    ];
    for (const [name, env] of cases) {
      const { weights, seconds, stamps } = await train(name, env);
      expect(weights, name).toBe(plain.weights);
      for (const value of seconds) {
        expect(value, name).toBeGreaterThanOrEqual(0);
        expect(value, name).toBeLessThan(3600);
      }
      for (const stamp of stamps) expect(stamp, name).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
  });

  /** Stamps for people, and what a server says about waiting; none of them decides anything. */
  const allowed: Readonly<Record<string, RegExp>> = {
    'backend-node/src/storage/run-lock.ts':
      /since: new Date\(\)\.toISOString\(\)|Date\.now\(\) - Date\.parse\(owner\.since\)/,
    'backend-node/src/hub/status.ts': /retry-after|Date\.parse|Date\.now/,
    // The age of a measurement of an earlier process; after a jump of the clock it is measured again.
    'core/src/engine/engine-choice.ts': /answer\.time|time: Date\.now\(\)/,
    'cli/src/run/tensorboard.ts': /Date\.now\(\) \/ 1000/,
    // One day for all files.
    'cli/src/run/stored-zip.ts': /new Date\(1980, 0, 1\)/,
  };

  it('is read for stamps alone', () => {
    const found: string[] = [];
    for (const file of readdirSync(packages, { recursive: true, encoding: 'utf8' })) {
      if (!/^[^/]+\/src\/.*\.m?ts$|\/src\/.*\.mjs$/.test(file) || /\.test\.|test-support|node_modules/.test(file))
        continue;
      for (const line of readFileSync(path.join(packages, file), 'utf8').split('\n'))
        if (/Date\.now|new Date\(|Date\.parse/.test(line) && !allowed[file.replaceAll('\\', '/')]?.test(line))
          found.push(`${file}: ${line.trim()}`);
    }
    expect(found).toEqual([]);
  });
});
