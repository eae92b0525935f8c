/**
 * The packages as their users get them: packed with npm, installed from the tarballs into an empty folder, imported,
 * type-checked, and the command line run. npm here; other managers in managers.test.ts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { decode } from 'fast-png';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { environment, minutes, packages, packInto, root, type Manifest, type PackedPackage } from './pack.js';

/** What a package may hold besides its package.json. */
const allowed = [
  /^README\.md$/,
  /^LICENSE$/,
  /^dist\//,
  /^src\/(?!.*\.test\.ts$)/,
  /^assembly\/[\w-]+\.ts$/,
  /^presets\//,
];

/** Largest tarball in bytes: the command carries the page with its models and runtimes, the presets their weights. */
const sizeLimits: Readonly<Record<string, number>> = { '@dimo/cli': 32e6, '@dimo/presets': 14e6 };
const usualSizeLimit = 1e6;

let folder = '';
let packed: Map<string, PackedPackage>;

function node(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, args, {
    cwd: folder,
    encoding: 'utf8',
    env: { ...environment, XDG_CACHE_HOME: path.join(folder, 'cache') },
  });
}

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'dimo-packages-'));
  packed = packInto(path.join(folder, 'tarballs'));
  writeFileSync(path.join(folder, 'package.json'), JSON.stringify({ name: 'empty-folder', private: true }));
  const tarballs = [...packed.values()].map(({ file }) => file);
  // As the read-me says: no dependency needs its install script, and that of onnxruntime-node may fail.
  execFileSync('npm', ['install', '--ignore-scripts', ...tarballs], { cwd: folder, env: environment, stdio: 'pipe' });
}, 10 * minutes);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.each(packages.map(({ manifest, location }) => [manifest.name, manifest, location] as const))(
  '%s',
  (name, manifest, location) => {
    it('packs its build, its sources and its README, and nothing else', () => {
      const { files } = packed.get(name)!;
      const surprising = files.filter((file) => file !== 'package.json' && !allowed.some((rule) => rule.test(file)));
      expect(surprising).toEqual([]);
      expect(files).toEqual(
        expect.arrayContaining(['README.md', 'LICENSE', 'dist/index.js', 'dist/index.d.ts', 'src/index.ts']),
      );
    });

    it('is no larger than a package of its kind should be', () => {
      expect(packed.get(name)!.size).toBeLessThan(sizeLimits[name] ?? usualSizeLimit);
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

describe('the declarations of an installed application', () => {
  const entries = packages.flatMap(({ manifest, location }) => {
    const { exports } = JSON.parse(readFileSync(path.join(location, 'package.json'), 'utf8')) as { exports: object };
    return Object.keys(exports)
      .filter((entry) => entry !== './package.json')
      .map((entry) => path.posix.join(manifest.name, entry));
  });

  /** Diagnostics of TypeScript for a program that imports every entry. */
  function typeCheck(module: string, moduleResolution: string, skipLibCheck: boolean): string[] {
    const imports = entries.map((entry, i) => `import * as entry${i} from '${entry}';`);
    const uses = `console.log(${entries.map((_, i) => `entry${i}`).join(', ')});`;
    writeFileSync(path.join(folder, 'application.ts'), [...imports, uses].join('\n'));
    const compilerOptions = {
      ...{ module, moduleResolution, skipLibCheck, target: 'es2022', strict: true, noEmit: true },
      ...{ exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, types: ['node'] },
      typeRoots: [path.join(root, 'node_modules', '@types')],
    };
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['application.ts'] }));
    const { status, stdout } = node([path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', '.']);
    const errors = stdout.split('\n').filter((line) => / error TS\d+: /.test(line));
    expect(status === 0).toBe(errors.length === 0);
    return errors;
  }

  it.each([
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ])('pass with module %s, resolved by %s', { timeout: 5 * minutes }, (module, resolution) => {
    expect(typeCheck(module, resolution, true)).toEqual([]);
    // tfjs-core 4.22 brings declarations of WebGPU, which TypeScript 6 has in its own DOM library, and misses `Long`.
    const foreign = /(^node_modules\/@(webgpu\/types|tensorflow\/tfjs-core)|\/typescript\/lib)\//;
    expect(typeCheck(module, resolution, false).filter((line) => !foreign.test(line))).toEqual([]);
  });
});

describe("the read-me's first example", () => {
  it('draws a picture', { timeout: 3 * minutes }, () => {
    const readMe = readFileSync(path.join(root, 'README.md'), 'utf8');
    const example = /^```ts\n(.*?)^```/ms.exec(readMe)![1]!;
    expect(example).toContain("from '@dimo/pipeline'");
    // The one mark of TypeScript in it.
    writeFileSync(path.join(folder, 'example.mjs'), example.replace('heart!', 'heart'));
    const { status, stderr } = node(['example.mjs']);
    // Drivers of GPUs that are looked for write what they like to stderr.
    expect({ status, output: status === 0 ? '' : stderr }).toEqual({ status: 0, output: '' });
    const { width, height, channels, data } = decode(readFileSync(path.join(folder, 'heart.png')));
    expect([width, height, channels]).toEqual([32, 32, 3]);
    const [red, green, blue] = data.subarray((16 * 32 + 16) * 3, (16 * 32 + 16) * 3 + 3);
    expect(red! - Math.max(green!, blue!)).toBeGreaterThan(80);
  });
});

describe('the dimo command', () => {
  const dimo = (...args: string[]) => node([path.join('node_modules', '@dimo', 'cli', 'dist', 'main.js'), ...args]);
  const sample = (out: string) => dimo('sample', '--model', 'mnist', '--count', '4', '--seed', '1', '--out', out);

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

  it('draws emoji by the name of the preset alone', { timeout: 3 * minutes }, () => {
    const { status, stderr } = dimo('sample', '--model', 'emoji', 'red heart', '--out', 'emoji.png');
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
    expect(decode(readFileSync(path.join(folder, 'emoji.png')))).toMatchObject({ width: 32, height: 32 });
  });

  it('prints the packed version', () => {
    const { stdout } = dimo('--version');
    expect(stdout.trim()).toBe(packages.find(({ folder: name }) => name === 'cli')!.manifest.version);
  });

  it(
    'explains and diagnoses without any native binary, and says in one line what brings them',
    { timeout: 5 * minutes },
    () => {
      // What npm leaves of an optional package whose install script fails: nothing.
      rmSync(path.join(folder, 'node_modules', 'onnxruntime-node'), { recursive: true });
      rmSync(path.join(folder, 'node_modules', '@node-rs'), { recursive: true });
      expect(dimo('--help').status).toBe(0);
      expect(dimo('sample', '--help').status).toBe(0);
      const { status, stdout } = dimo('doctor', '--no-bench');
      expect(status).toBe(0);
      expect(stdout).toMatch(/no +onnx +.*onnxruntime-node is not installed/);
      expect(stdout).toMatch(/yes +wasm/);

      const command = 'npm install --include=optional --ignore-scripts';
      const without = sample('without.png');
      expect(without.status).toBe(0);
      expect(without.stderr.split('\n').filter((line) => line.startsWith('warning:'))).toEqual([
        `warning: the package onnxruntime-node is not installed, so this runs several times slower; to fix: run \`${command}\``,
      ]);
      execFileSync(command, { cwd: folder, env: environment, stdio: 'pipe', shell: true });
      const withIt = sample('with.png');
      expect(withIt.stderr).toMatch(/engine onnx(-native)? on CPU/);
      expect(withIt.stderr).not.toContain('warning:');
      // One picture, whichever engine computes it.
      expect(readFileSync(path.join(folder, 'with.png'))).toEqual(readFileSync(path.join(folder, 'without.png')));
    },
  );

  it('diagnoses the engines of this machine', { timeout: 3 * minutes }, () => {
    const { status, stdout, stderr } = dimo('doctor');
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
    for (const engine of ['onnx', 'wasm', 'webgpu', 'tensorflow', 'cuda']) expect(stdout).toContain(engine);
  });
});
