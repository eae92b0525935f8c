/** Which command brings a missing package: by the lock files that package managers leave. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { hasOnnxruntime, installCommand } from './onnxruntime-package.js';

const folder = mkdtempSync(join(tmpdir(), 'dimo-managers-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A project with these files, and this package at a place inside it. */
function project(name: string, files: readonly string[], place = 'node_modules/@dimo/backend-node/dist') {
  const root = join(folder, name);
  const here = join(root, place);
  mkdirSync(here, { recursive: true });
  for (const file of files) writeFileSync(join(root, file), '');
  return { root, here };
}

describe('installCommand', () => {
  it.each([
    ['npm', ['package.json', 'package-lock.json'], 'npm install --include=optional --ignore-scripts'],
    ['no lock', ['package.json'], 'npm install --include=optional --ignore-scripts'],
    ['pnpm', ['package.json', 'pnpm-lock.yaml'], 'pnpm install --ignore-scripts'],
    ['yarn', ['package.json', 'yarn.lock'], 'yarn install --mode=skip-build'],
    ['bun', ['package.json', 'bun.lock'], 'bun install --ignore-scripts'],
  ])('is that of the package manager: %s', (name, files, expected) => {
    const { root, here } = project(name, files);
    expect(installCommand(here, root)).toBe(expected);
    expect(installCommand(here, join(root, 'src', 'deep'))).toBe(expected);
  });

  it('looks at the outermost project where packages are nested', () => {
    const place = 'node_modules/.pnpm/@dimo+backend-node@0.1.0/node_modules/@dimo/backend-node/dist';
    const { root, here } = project('nested', ['package.json', 'pnpm-lock.yaml'], place);
    expect(installCommand(here, root)).toBe('pnpm install --ignore-scripts');
  });

  it('names the folder where it is typed elsewhere', () => {
    const { root, here } = project('with space', ['package.json']);
    expect(installCommand(here, tmpdir())).toBe(`cd "${root}" && npm install --include=optional --ignore-scripts`);
  });

  it('installs a global command again', () => {
    const { root, here } = project('lib', []);
    expect(installCommand(here, root)).toBe('npm install --global --ignore-scripts @dimo/cli');
  });
});

it('finds the package here, where it is installed', () => {
  expect(hasOnnxruntime()).toBe(true);
});
