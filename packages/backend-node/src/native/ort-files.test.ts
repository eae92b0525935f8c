import koffi from 'koffi';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { apiVersion, hasTable, openOrt } from './ort-api.js';
import { findOrt } from './ort-files.js';

const root = mkdtempSync(join(tmpdir(), 'dimo-ort-files-'));
afterAll(() => rmSync(root, { recursive: true }));
beforeEach(() => {
  rmSync(root, { recursive: true });
  mkdirSync(root);
});

/** Empty files. */
function put(...names: string[]): void {
  for (const name of names) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), '');
  }
}

const provider = 'libonnxruntime_providers_cuda.so';

describe('the library that the environment names', () => {
  it('is a file, or lies in a folder or where packages for Python and C have it', () => {
    put(
      'a/libonnxruntime.so.1.22.0',
      'a/libonnxruntime_providers_shared.so',
      'b/capi/libonnxruntime.so',
      'c/lib/onnxruntime.dll',
    );
    const found = (named: string) => findOrt('cpu', { DIMO_ONNXRUNTIME: join(root, named) })?.library;
    expect(found('a')).toBe(join(root, 'a/libonnxruntime.so.1.22.0'));
    expect(found('a/libonnxruntime.so.1.22.0')).toBe(join(root, 'a/libonnxruntime.so.1.22.0'));
    expect(found('b')).toBe(join(root, 'b/capi/libonnxruntime.so'));
    expect(found('c')).toBe(join(root, 'c/lib/onnxruntime.dll'));
    expect(found('nowhere')).toBeUndefined();
  });

  it('needs its CUDA provider beside it, for CUDA', () => {
    put('a/libonnxruntime.so', 'b/libonnxruntime.so', `b/${provider}`);
    const found = (named: string) => findOrt('cuda', { DIMO_ONNXRUNTIME: join(root, named) });
    expect(found('a')).toBeUndefined();
    expect(found('b')).toEqual({ library: join(root, 'b/libonnxruntime.so'), provider: join(root, 'b', provider) });
  });
});

describe('without a name', () => {
  it('the library of onnxruntime-node is taken', () => {
    expect(findOrt('cpu', {})!.library).toContain(join('onnxruntime-node', 'bin'));
  });

  it('that of a Python environment is taken where it alone has CUDA', () => {
    const folder = 'lib/python3.12/site-packages/onnxruntime/capi';
    put(`${folder}/libonnxruntime.so.1.23.2`, `${folder}/${provider}`);
    // onnxruntime-node brings CUDA only if its own script has downloaded it.
    const withoutCuda = findOrt('cuda', {}) === undefined;
    const found = findOrt('cuda', { VIRTUAL_ENV: root })!;
    if (withoutCuda) expect(found.library).toBe(join(root, folder, 'libonnxruntime.so.1.23.2'));
    else expect(found.library).toContain('onnxruntime-node');
  });
});

describe('a library', () => {
  it('is refused if it is older than the table of functions, or of another major version', () => {
    expect([`1.${apiVersion}.0`, '1.30.0'].map(hasTable)).toEqual([true, true]);
    expect([`1.${apiVersion - 1}.3`, '2.0.0', '', 'dev'].map(hasTable)).toEqual([false, false, false, false]);
  });

  it('says its version, and what is wrong by its own words', () => {
    const api = openOrt(koffi as unknown as Parameters<typeof openOrt>[0], findOrt('cpu', {})!.library);
    expect(hasTable(api.version)).toBe(true);
    const options = api.make('CreateSessionOptions');
    expect(() => api.make('CreateSessionFromArray', api.environment, new Uint8Array(3), 3, options)).toThrow(
      /protobuf parsing failed/,
    );
    api.call('ReleaseSessionOptions', options);
  });
});
