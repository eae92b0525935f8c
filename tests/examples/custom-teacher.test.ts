/**
 * A third-party teacher, trained and distilled by the stock command line: examples/custom-teacher is built, named as a
 * plugin, and judged by its own metrics against the true distribution. Nothing of core or cli knows of it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const example = path.join(root, 'examples', 'custom-teacher');
const main = path.join(root, 'packages', 'cli', 'dist', 'main.js');
const minutes = 60_000;

let runs = '';

/** Runs `dimo` in the example's folder, whose dimo.config.yaml names the plugin. */
function dimo(...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args, '--engine', 'onnx'], {
    cwd: example,
    encoding: 'utf8',
  });
  expect(`${status} ${status === 0 ? '' : stderr}`.trim()).toBe('0');
  return stdout;
}

beforeAll(() => {
  const environment = { ...process.env, NX_DAEMON: 'false', NX_NO_CLOUD: 'true' };
  if (![main, path.join(example, 'dist', 'index.js')].every((file) => existsSync(file)))
    execFileSync('npx', ['nx', 'run-many', '-t', 'build'], { cwd: root, env: environment, stdio: 'pipe' });
  runs = mkdtempSync(path.join(tmpdir(), 'dimo-example-'));
}, 10 * minutes);

afterAll(() => rmSync(runs, { recursive: true, force: true }));

describe('examples/custom-teacher with the stock command line', () => {
  it(
    'trains a teacher on tokens and distils it to a one-step generator near the true chains',
    () => {
      dimo('train', 'teacher', '--runs', runs, '--name', 'teacher', '--quiet');
      const teacher = path.join(runs, 'teacher', 'teacher');
      // The first update of a warm-up has learning rate 0: one step leaves the generator as it was.
      dimo('distill', '--teacher', teacher, '--runs', runs, '--name', 'undistilled', '--steps', '1', '--quiet');
      dimo('distill', '--teacher', teacher, '--runs', runs, '--name', 'distilled', '--quiet');

      const models = ['undistilled', 'distilled'].map((name) => path.join(runs, name, 'generator'));
      const out = path.join(runs, 'eval.json');
      const selected = models.flatMap((folder) => ['--model', folder]);
      const steps = ['--set', 'eval.teacherSteps=[16,1]', '--set', 'eval.count=2000', '--out', out];
      dimo('eval', '--teacher', teacher, ...selected, ...steps, '--quiet');
      const { pluginRows } = JSON.parse(readFileSync(out, 'utf8')) as {
        pluginRows: { steps: number; metrics: Record<string, number> }[];
      };
      const [inSixteen, inOne, undistilled, distilled] = pluginRows.map(({ metrics }) => metrics);

      // A perfect sample of 2,000 sequences has a divergence of about 63 / (2 * 30,000) = 0.001; independent symbols 1.3.
      expect(inSixteen!['bigram-divergence']).toBeLessThan(0.06);
      expect(inOne!['bigram-divergence']).toBeGreaterThan(1);
      expect(undistilled!['bigram-divergence']).toBeGreaterThan(0.3);
      expect(distilled!['bigram-divergence']).toBeLessThan(0.08);
      expect(distilled!['bigram-divergence']!).toBeLessThan(undistilled!['bigram-divergence']! / 5);
      // True sequences: 16.8 nats, neighbours with 3.06 nats of entropy. Far less of either would be collapse.
      expect(distilled!['negative-log-likelihood']).toBeGreaterThan(15);
      expect(distilled!['negative-log-likelihood']).toBeLessThan(22);
      expect(distilled!['bigram-entropy']).toBeGreaterThan(2.8);
    },
    10 * minutes,
  );

  it(
    'writes sequences where a teacher of images would write a picture',
    () => {
      const model = path.join(runs, 'distilled', 'generator');
      const out = path.join(runs, 'sequences.json');
      dimo('sample', '--model', model, '--classes', 'climbing', '--count', '4', '--out', out, '--quiet');
      const { labels, tokens } = JSON.parse(readFileSync(out, 'utf8')) as { labels: string[]; tokens: number[][] };
      expect(labels).toEqual(Array.from({ length: 4 }, () => 'climbing'));
      const ids = tokens.flat();
      expect(ids).toHaveLength(4 * 16);
      expect(ids.every((id) => id >= 0 && id < 8)).toBe(true);
    },
    minutes,
  );

  it(
    'names the plugin when its configuration is wrong',
    () => {
      const { status, stderr } = spawnSync(
        process.execPath,
        [main, 'train', 'teacher', '--runs', runs, '--name', 'wrong', '--set', 'teacher.config={heads: 4}'],
        { cwd: example, encoding: 'utf8' },
      );
      expect(status).toBe(2);
      expect(stderr).toContain('unknown key "heads"');
    },
    minutes,
  );
});
