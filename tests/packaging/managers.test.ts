/**
 * The packed packages installed by other package managers into an empty folder, with nothing set in the environment, and
 * a picture sampled there. The managers are npm packages themselves; where they cannot be had, the reason is in the name.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { decode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cachedPackage } from '../support/cached-package.mjs';
import { environment, minutes, packInto, type PackedPackage } from './pack.js';

interface Manager {
  readonly name: string;
  /** The npm package, with its version, and its program inside. */
  readonly package: readonly [name: string, version: string, program: string];
  readonly install: readonly string[];
  /** What runs `dimo`. */
  readonly run: readonly string[];
  /** Files of the project besides package.json, given the tarballs by package. */
  readonly files: (tarballs: Readonly<Record<string, string>>) => Readonly<Record<string, string>>;
}

const yarn = ['@yarnpkg/cli-dist', '4.18.1', 'bin/yarn.js'] as const;
const yarnFiles = (linker: string) => () => ({
  '.yarnrc.yml': `nodeLinker: ${linker}\nenableTelemetry: false\nenableImmutableInstalls: false\n`,
  'yarn.lock': '', // without it Yarn looks for a project in the folders above
});

const managers: readonly Manager[] = [
  {
    name: 'pnpm',
    package: ['pnpm', '12.21.0', 'bin/pnpm.mjs'],
    install: ['install', '--ignore-scripts'],
    run: ['exec', 'dimo'],
    files: (tarballs) => ({ 'pnpm-workspace.yaml': JSON.stringify({ packages: ['.'], overrides: tarballs }) }),
  },
  { name: "Yarn, Plug'n'Play", package: yarn, install: ['install'], run: ['dimo'], files: yarnFiles('pnp') },
  { name: 'Yarn, node_modules', package: yarn, install: ['install'], run: ['dimo'], files: yarnFiles('node-modules') },
];

const folder = mkdtempSync(path.join(tmpdir(), 'dimo-managers-'));
let packed: Map<string, PackedPackage>;
beforeAll(() => {
  packed = packInto(path.join(folder, 'tarballs'));
}, 10 * minutes);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

for (const [i, manager] of managers.entries()) {
  const found = cachedPackage(manager.package[0], manager.package[1]);
  const reason = 'reason' in found ? `, skipped: ${found.reason}` : '';
  describe.skipIf('reason' in found)(`${manager.name}${reason}`, () => {
    it('installs the packages, and the command distils and samples', { timeout: 15 * minutes }, () => {
      const project = path.join(folder, String(i));
      mkdirSync(project);
      const tarballs = Object.fromEntries([...packed].map(([name, { file }]) => [name, `file:${file}`]));
      const manifest = {
        name: 'empty-folder',
        private: true,
        dependencies: { '@dimo/cli': tarballs['@dimo/cli'] },
        // The other packages are not published yet, so their names stand for the tarballs.
        resolutions: tarballs,
      };
      writeFileSync(path.join(project, 'package.json'), JSON.stringify(manifest));
      for (const [name, content] of Object.entries(manager.files(tarballs)))
        writeFileSync(path.join(project, name), content);

      const program = path.join((found as { folder: string }).folder, manager.package[2]);
      const run = (args: readonly string[]) => {
        const env = { ...environment, XDG_CACHE_HOME: path.join(folder, 'cache') };
        const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
          cwd: project,
          encoding: 'utf8',
          env,
        });
        expect({ args, status, output: status === 0 ? '' : `${stdout}${stderr}` }).toEqual({
          args,
          status: 0,
          output: '',
        });
        return stderr;
      };
      run(manager.install);
      const options = ['--steps', '1', '--set', 'distill.batchSize=4', '--name', 'short'];
      expect(run([...manager.run, 'distill', '--teacher', 'mnist', ...options])).toMatch(
        /engine onnx(-native)? on CPU/,
      );
      run([...manager.run, 'sample', '--model', 'runs/short/generator', '--count', '4', '--out', 'samples.png']);
      const { width, height } = decode(readFileSync(path.join(project, 'samples.png')));
      expect(Math.min(width, height)).toBeGreaterThanOrEqual(28);
      run([...manager.run, 'report', 'runs/short']);
    });
  });
}
