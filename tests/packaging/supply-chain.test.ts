/** What a published package brings with it: nothing runs at installation, nothing moves, every licence is known. */
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { packages, root } from './pack.js';

interface LockedPackage {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly link?: boolean;
  readonly dev?: boolean;
  readonly hasInstallScript?: boolean;
}

const lock = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')) as {
  lockfileVersion: number;
  packages: Record<string, LockedPackage>;
};
const locked = Object.entries(lock.packages).filter(([place, { link }]) => place.startsWith('node_modules/') && !link);

/** Everything that a user of any package may get, optional packages included. */
const production = locked.filter(([, { dev }]) => !dev);

const nameOf = (place: string): string => place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);

/** Licences that allow what Apache-2.0 allows; a new one is a decision, not an accident. */
const allowedLicences = [
  'MIT',
  'ISC',
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  '(Apache-2.0 AND BSD-3-Clause)',
  '(MIT OR CC0-1.0)',
];

/** A peer that a user installs on purpose: sharp brings libvips as a library of its own, which the LGPL allows. */
const separateLibraries = /^@img\/sharp-/;

describe('the lock file', () => {
  it('names every package with its content', () => {
    expect(lock.lockfileVersion).toBe(3);
    expect(production.length).toBeGreaterThan(30);
    const loose = locked.filter(
      ([, { resolved = 'https://', integrity = '' }]) =>
        !resolved.startsWith('https://') || !integrity.startsWith('sha512-'),
    );
    expect(loose.map(([place]) => place)).toEqual([]);
  });

  it('has what every package.json asks for', () => {
    for (const { folder, manifest } of packages) {
      const entry = lock.packages[`packages/${folder}`] as Record<string, unknown> | undefined;
      for (const kind of ['dependencies', 'optionalDependencies', 'engines'] as const)
        expect([manifest.name, entry?.[kind]]).toEqual([manifest.name, manifest[kind]]);
    }
  });

  it('has known licences for all that a user gets', () => {
    const others = production.filter(
      ([place, { license }]) => !separateLibraries.test(nameOf(place)) && !allowedLicences.includes(license ?? ''),
    );
    expect(others.map(([place, { license }]) => `${nameOf(place)}: ${license}`)).toEqual([]);
  });

  it('has no install script that a user could need: here they are all refused by name', () => {
    const { allowScripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
      allowScripts: Record<string, boolean>;
    };
    const scripted = production.filter(([, { hasInstallScript }]) => hasInstallScript);
    expect(scripted.map(([place]) => nameOf(place))).toContain('onnxruntime-node');
    expect(scripted.filter(([place]) => allowScripts[nameOf(place)] !== false)).toEqual([]);
  });
});

describe.each(packages.map((entry) => [entry.manifest.name, entry] as const))('%s', (_, { manifest, location }) => {
  it('runs nothing when it is installed', () => {
    const hooks = /^(pre|post)?(install|prepare|publish|pack|uninstall)$|^prepublishOnly$|^dependencies$/;
    expect(Object.keys(manifest.scripts ?? {}).filter((name) => hooks.test(name))).toEqual([]);
  });

  it('pins what others publish to one version', () => {
    const asked = Object.entries({ ...manifest.dependencies, ...manifest.optionalDependencies });
    const moving = asked.filter(
      ([name, version]) => !name.startsWith('@dimo/') && !/^\d+\.\d+\.\d+(-\d+)?$/.test(version),
    );
    expect(moving).toEqual([]);
  });

  it('says its licence, brings its text, and says on which Node it runs', () => {
    expect(manifest.license).toBe('Apache-2.0');
    expect(readFileSync(path.join(location, 'LICENSE'))).toEqual(readFileSync(path.join(root, 'LICENSE')));
    expect(manifest.engines).toEqual({ node: '>=20.19' });
  });
});
