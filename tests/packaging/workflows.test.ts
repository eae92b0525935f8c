/** What the workflows may do: nothing is published by itself, with a secret, or untested; what they run is there. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { root } from './pack.js';

interface Job {
  readonly needs?: string;
  readonly environment?: string | { readonly name: string };
  readonly permissions?: Readonly<Record<string, string>>;
  readonly steps: readonly { readonly run?: string; readonly uses?: string; readonly env?: object }[];
}
interface Workflow {
  readonly on: Readonly<Record<string, unknown>>;
  readonly permissions?: object;
  readonly jobs: Readonly<Record<string, Job>>;
}

const folder = path.join(root, '.github/workflows');
const names = readdirSync(folder);
const read = (name: string): string => readFileSync(path.join(folder, name), 'utf8');
const workflow = (name: string): Workflow => parse(read(name)) as Workflow;
const commands = ({ steps }: Job): string[] => steps.flatMap(({ run }) => run ?? []);

describe.each(names)('%s', (name) => {
  it('holds no secret', () => expect(read(name)).not.toContain('secrets'));

  it('publishes only where a person has started it', () => {
    const { on, jobs } = workflow(name);
    const publishes = Object.values(jobs).some(
      (job) =>
        commands(job).some((run) => /\bpublish\b|gh release|git push/.test(run)) ||
        job.steps.some(({ uses }) => /deploy|publish|release/.test(uses ?? '')) ||
        Object.values(job.permissions ?? {}).includes('write'),
    );
    if (publishes) expect(Object.keys(on)).toEqual(['workflow_dispatch']);
    expect(publishes).toBe(name !== 'ci.yaml');
  });

  it('runs scripts that are there', () => {
    const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { scripts: object };
    const all = Object.values(workflow(name).jobs).flatMap(commands).join('\n');
    for (const [, script] of all.matchAll(/npm run ([\w:]+)/g)) expect(Object.keys(scripts)).toContain(script);
    for (const [, file] of all.matchAll(/(?:bash|node) ([\w./-]+)/g))
      expect(existsSync(path.join(root, file!))).toBe(true);
  });
});

describe('the release', () => {
  const { jobs, permissions } = workflow('release.yaml');

  it('publishes after all tests, with provenance, once someone has agreed', () => {
    expect(permissions).toEqual({});
    expect(commands(jobs['check']!)).toContain('bash .ci/run');
    const { needs, environment, permissions: own, steps } = jobs['publish']!;
    expect({ needs, environment, own }).toEqual({
      needs: 'check',
      environment: 'npm',
      own: { contents: 'write', 'id-token': 'write' },
    });
    const publish = steps.find(({ run }) => run === 'npx changeset publish');
    expect(publish?.env).toEqual({ NPM_CONFIG_PROVENANCE: 'true' });
    const before = steps.slice(0, steps.indexOf(publish!)).map(({ run }) => run ?? '');
    expect(before).toContain('npm run packages:check');
    expect(before.some((run) => run.includes('repository.url'))).toBe(true);
  });
});
