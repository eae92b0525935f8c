import { DimoError } from '@dimo/core';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkHubPath, isDataFile } from './file-names.js';
import { formatHubReference, parseHubReference } from './reference.js';
import { hubSettings } from './settings.js';

let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'dimo-hub-'))));
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('references', () => {
  it.each([
    ['hf:owner/name', { owner: 'owner', repository: 'name', folder: '', revision: 'main' }],
    ['hf:owner/name/', { owner: 'owner', repository: 'name', folder: '', revision: 'main' }],
    ['hf://owner/name@v1.0', { owner: 'owner', repository: 'name', folder: '', revision: 'v1.0' }],
    ['hf:O-w_n/n.a-m_e/a/b@refs/pr/1', { owner: 'O-w_n', repository: 'n.a-m_e', folder: 'a/b', revision: 'refs/pr/1' }],
  ])('%s', (text, reference) => {
    expect(parseHubReference(text)).toEqual(reference);
    expect(parseHubReference(formatHubReference(reference))).toEqual(reference);
  });

  it.each([
    'owner/name',
    'hf:',
    'hf:owner',
    'hf:owner/',
    'hf:../name',
    'hf:owner/..',
    'hf:o--r/name',
    'hf:owner/na..me',
    'hf:owner/name/../x',
    'hf:owner/name//x',
    'hf:owner/name@',
    'hf:owner/name@a@b',
    'hf:owner/name@../../x',
    'hf:owner/name@/x',
    'hf:owner/na me',
    'hf:owner/name/a\\b',
    'hf:owner/name/a\u0000b',
    `hf:owner/${'x'.repeat(200)}`,
  ])('%s is refused', (text) => {
    let error: unknown;
    try {
      parseHubReference(text);
    } catch (caught) {
      error = caught;
    }
    expect(DimoError.isInstance(error)).toBe(true);
  });
});

describe('file names', () => {
  it('of every usual repository are accepted', () => {
    for (const name of [
      'config.json',
      'a/b/c.safetensors',
      'model-00001-of-00002.safetensors',
      '.gitattributes',
      'ä/名.txt',
    ])
      expect(() => checkHubPath(name, 'hub')).not.toThrow();
  });

  it('only plain data is fetched', () => {
    expect(['a.json', 'a.safetensors', 'merges.txt'].every(isDataFile)).toBe(true);
    for (const name of [
      'a.bin',
      'a.pth',
      'a.pt',
      'a.ckpt',
      'a.pkl',
      'a.py',
      'a.js',
      'a.zip',
      'a.onnx',
      'json',
      'a.JSON',
    ])
      expect(isDataFile(name), name).toBe(false);
  });
});

describe('settings', () => {
  it('where nothing is set', () => {
    expect(hubSettings({})).toMatchObject({
      endpoint: 'https://huggingface.co',
      cacheFolder: join(homedir(), '.cache', 'huggingface', 'hub'),
      offline: false,
    });
  });

  it('the cache: HF_HUB_CACHE before HF_HOME before XDG_CACHE_HOME', () => {
    const all = { HF_HUB_CACHE: '/a', HF_HOME: '/b', XDG_CACHE_HOME: '/c' };
    expect(hubSettings(all).cacheFolder).toBe('/a');
    expect(hubSettings({ ...all, HF_HUB_CACHE: '' }).cacheFolder).toBe(join('/b', 'hub'));
    expect(hubSettings({ XDG_CACHE_HOME: '/c' }).cacheFolder).toBe(join('/c', 'huggingface', 'hub'));
    expect(hubSettings({ HF_HOME: '~/x' }).cacheFolder).toBe(join(homedir(), 'x', 'hub'));
  });

  it('the token: HF_TOKEN before the file that a log-in leaves', async () => {
    await writeFile(join(folder, 'token'), 'hf_stored\n');
    expect(hubSettings({ HF_HOME: folder }).token).toBe('hf_stored');
    expect(hubSettings({ HF_HOME: folder, HF_TOKEN: 'hf_given' }).token).toBe('hf_given');
    expect(hubSettings({ HF_HOME: folder, HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }).token).toBeUndefined();
    await writeFile(join(folder, 'token'), 'no\ntoken');
    expect(hubSettings({ HF_HOME: folder }).token).toBeUndefined();
  });

  it.each(['1', 'true', 'YES', 'on'])('offline: %s', (value) => {
    expect(hubSettings({ HF_HUB_OFFLINE: value }).offline).toBe(true);
  });

  it.each(['x', 'ftp://host', 'https://user:password@host', 'https://host/?a=b'])(
    'endpoint %s is refused',
    (endpoint) => {
      expect(() => hubSettings({ HF_ENDPOINT: endpoint })).toThrow(/HF_ENDPOINT/);
    },
  );

  it('a trailing slash of the endpoint does not matter', () => {
    expect(hubSettings({ HF_ENDPOINT: 'https://mirror.example/hub/' }).endpoint).toBe('https://mirror.example/hub');
  });
});
