/** The published packages, packed with npm as they would be published. Builds first where a `dist` is missing. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** A minute in milliseconds. */
export const minutes = 60_000;

/** What is read of a package.json. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly bin?: Readonly<Record<string, string>>;
  readonly scripts?: Readonly<Record<string, string>>;
  readonly engines?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** The published packages of this repository. */
export const packages = readdirSync(path.join(root, 'packages')).map((folder) => {
  const location = path.join(root, 'packages', folder);
  const manifest = JSON.parse(readFileSync(path.join(location, 'package.json'), 'utf8')) as Manifest;
  return { folder, location, manifest };
});

/** Of every program that a test starts: no notices of npm, and its registry only where its cache has a gap. */
export const environment = {
  ...process.env,
  NX_DAEMON: 'false',
  NX_NO_CLOUD: 'true',
  npm_config_update_notifier: 'false',
  npm_config_fund: 'false',
  npm_config_audit: 'false',
  npm_config_prefer_offline: 'true',
};

/** A packed package. */
export interface PackedPackage {
  readonly file: string;
  readonly files: readonly string[];
  /** Bytes of the tarball. */
  readonly size: number;
}

/** Packs every package into a folder, by name. */
export function packInto(folder: string): Map<string, PackedPackage> {
  if (packages.some(({ location }) => !existsSync(path.join(location, 'dist', 'index.js'))))
    execFileSync('npx', ['nx', 'run-many', '-t', 'build'], { cwd: root, env: environment, stdio: 'pipe' });
  mkdirSync(folder, { recursive: true });
  return new Map(
    packages.map(({ location, manifest }) => {
      const output = execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
        cwd: location,
        env: environment,
        encoding: 'utf8',
      });
      // npm 11 answers with an array, later versions with a record by package name.
      const parsed = JSON.parse(output) as Record<
        string,
        { filename: string; size: number; files: { path: string }[] }
      >;
      const { filename, size, files } = Object.values(parsed)[0]!;
      return [
        manifest.name,
        { file: path.join(folder, filename), size, files: files.map((file) => file.path) },
      ] as const;
    }),
  );
}
