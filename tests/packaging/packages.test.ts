/**
 * The packages as their users get them: packed with npm, installed from the tarballs into an empty folder, imported,
 * and the command line run. Builds first where a `dist` is missing.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const minutes = 60_000;

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly bin?: Readonly<Record<string, string>>;
}

const packages = readdirSync(path.join(root, 'packages')).map((folder) => {
  const location = path.join(root, 'packages', folder);
  const manifest = JSON.parse(readFileSync(path.join(location, 'package.json'), 'utf8')) as Manifest;
  return { folder, location, manifest };
});

/** No script of a dependency downloads anything; npm talks to its registry only where its cache has a gap. */
const environment = {
  ...process.env,
  ONNXRUNTIME_NODE_INSTALL: 'skip',
  NX_DAEMON: 'false',
  NX_NO_CLOUD: 'true',
  npm_config_update_notifier: 'false',
  npm_config_fund: 'false',
  npm_config_audit: 'false',
};

/** What a package may hold besides its package.json. */
const allowed = [/^README\.md$/, /^LICENSE$/, /^dist\//, /^src\/(?!.*\.test\.ts$)/, /^presets\//];

let folder = '';
const packed = new Map<string, { file: string; files: string[] }>();

function node(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env: environment });
}

beforeAll(() => {
  if (packages.some(({ location }) => !existsSync(path.join(location, 'dist', 'index.js'))))
    execFileSync('npx', ['nx', 'run-many', '-t', 'build'], { cwd: root, env: environment, stdio: 'pipe' });
  folder = mkdtempSync(path.join(tmpdir(), 'dimo-packages-'));
  const tarballs = path.join(folder, 'tarballs');
  mkdirSync(tarballs);
  for (const { location, manifest } of packages) {
    const output = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', tarballs], {
      cwd: location,
      env: environment,
      encoding: 'utf8',
    });
    // npm 11 answers with an array, later versions with a record by package name.
    const parsed = JSON.parse(output) as Record<string, { filename: string; files: { path: string }[] }>;
    const { filename, files } = Object.values(parsed)[0]!;
    packed.set(manifest.name, { file: path.join(tarballs, filename), files: files.map((file) => file.path) });
  }
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'empty-folder', private: true }));
  const install = ['install', '--prefer-offline', '--no-package-lock', ...[...packed.values()].map(({ file }) => file)];
  execFileSync('npm', install, { cwd: folder, env: environment, stdio: 'pipe' });
}, 10 * minutes);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(packages.map(({ manifest, location }) => [manifest.name, manifest, location] as const))(
  '%s',
  (name, manifest, location) => {
    it('packs its build, its sources and its README, and nothing else', () => {
      const { files } = packed.get(name)!;
      const surprising = files.filter((file) => file !== 'package.json' && !allowed.some((rule) => rule.test(file)));
      expect(surprising).toEqual([]);
      expect(files).toEqual(expect.arrayContaining(['README.md', 'dist/index.js', 'dist/index.d.ts', 'src/index.ts']));
    });

    it('installs as the packed version, not as a link to this repository', () => {
      const installed = path.join(folder, 'node_modules', name);
      expect(readdirSync(installed)).toContain('dist');
      const { version } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8')) as Manifest;
      expect(version).toBe(manifest.version);
    });

    it('is imported by its name, with the same exports as here and nothing on stderr', async () => {
      const program = `import * as module from '${name}'; console.log(JSON.stringify(Object.keys(module)));`;
      const { status, stdout, stderr } = node(['--input-type=module', '--eval', program]);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      const here = (await import(/* @vite-ignore */ path.join(location, 'dist', 'index.js'))) as object;
      expect((JSON.parse(stdout) as string[]).sort()).toEqual(Object.keys(here).sort());
    });

    it('can be required, as Node has allowed since 20.19 for modules without top-level await', () => {
      writeFileSync(path.join(folder, 'require.cjs'), `console.log(Object.keys(require(process.argv[2])).length);`);
      const { status, stdout, stderr } = node(['--disable-warning=ExperimentalWarning', 'require.cjs', name]);
      expect(stderr).toBe('');
      expect(status).toBe(0);
      expect(Number(stdout)).toBeGreaterThan(0);
    });
  },
);

describe('the dimo command', () => {
  const dimo = (...args: string[]) => node([path.join('node_modules', '@dimo', 'cli', 'dist', 'main.js'), ...args]);

  it('is installed as a program, and npx finds it', () => {
    const { status, stdout, stderr } = spawnSync('npx', ['--no', '--', 'dimo', '--help'], {
      cwd: folder,
      encoding: 'utf8',
      env: environment,
      shell: process.platform === 'win32',
    });
    expect(stderr.split('\n').filter((line) => line !== '' && !line.startsWith('npm '))).toEqual([]);
    expect(status).toBe(0);
    expect(stdout).toContain('distill');
  });

  it('prints the packed version', () => {
    const { stdout } = dimo('--version');
    expect(stdout.trim()).toBe(packages.find(({ folder: name }) => name === 'cli')!.manifest.version);
  });

  it('diagnoses the engines of this machine', { timeout: 3 * minutes }, () => {
    const { status, stdout, stderr } = dimo('doctor');
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
    for (const engine of ['onnx', 'wasm', 'webgpu', 'tensorflow', 'cuda']) expect(stdout).toContain(engine);
  });
});
