/** Model folders over real HTTP on loopback: resume, integrity, cache, stopping; and folders that a visitor picked. */
import { DimoError } from '@dimo/core';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  fetchFile,
  fileListModelFolder,
  httpModelFolder,
  memoryFileCache,
  modelManifest,
  parseManifest,
} from './index.js';

const content = Uint8Array.from({ length: 30_000 }, (_, i) => (i * 7 + (i >> 8)) % 256);
const quick = { pauseMilliseconds: 1 };

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly range: string | undefined;
}

let files: Record<string, Uint8Array>;
let requests: Seen[];
/** Takes over an answer by returning true. */
let fault: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
let etag: string;
let origin: string;
let stop: () => Promise<void>;

beforeEach(async () => {
  files = { '/m/model.safetensors': content };
  requests = [];
  fault = undefined;
  etag = '"one"';
  const server = createServer((request, response) => {
    requests.push({ method: request.method!, url: request.url!, range: request.headers.range });
    if (fault?.(request, response)) return;
    const bytes = files[request.url!];
    if (!bytes) return void response.writeHead(404).end();
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? -1);
    if (from >= bytes.length) return void response.writeHead(416).end();
    const headers = { etag, 'content-length': bytes.length - Math.max(from, 0) };
    if (from >= 0)
      response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` });
    else response.writeHead(200, headers);
    response.end(request.method === 'HEAD' ? undefined : bytes.subarray(Math.max(from, 0)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  stop = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  };
});
afterEach(() => stop());

/** Sends the first bytes of what was asked for, then cuts the connection; `times` times. */
function cutting(times: number, after: number): void {
  fault = (request, response) => {
    if (!request.url!.endsWith('model.safetensors') || times-- <= 0) return false;
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    response.writeHead(206, {
      etag,
      'content-length': content.length - from,
      'content-range': `bytes ${from}-${content.length - 1}/${content.length}`,
    });
    response.write(content.subarray(from, from + after), () => setTimeout(() => response.socket?.destroy(), 20));
    return true;
  };
}

describe('fetchFile', () => {
  it('takes a cut transfer up where it broke', async () => {
    cutting(2, 10_000);
    const progress: number[] = [];
    const { bytes } = await fetchFile(`${origin}/m/model.safetensors`, {
      ...quick,
      onProgress: ({ loaded, total }) => {
        expect(total).toBe(content.length);
        progress.push(loaded);
      },
    });
    expect(bytes).toEqual(content);
    expect(requests.map(({ range }) => range)).toEqual(['bytes=0-', 'bytes=10000-', 'bytes=20000-']);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(content.length);
  });

  it('begins anew if the file has changed meanwhile, or the server knows no ranges', async () => {
    cutting(1, 10_000);
    const cut = fault!;
    fault = (request, response) => {
      const isCut = cut(request, response);
      etag = '"two"';
      return isCut;
    };
    expect((await fetchFile(`${origin}/m/model.safetensors`, quick)).bytes).toEqual(content);
    expect(requests.map(({ range }) => range)).toEqual(['bytes=0-', 'bytes=10000-', 'bytes=0-']);

    let isFirst = true;
    fault = (_, response) => {
      response.writeHead(200, { 'content-length': content.length });
      if (isFirst) response.write(content.subarray(0, 5000), () => setTimeout(() => response.socket?.destroy(), 20));
      else response.end(content);
      isFirst = false;
      return true;
    };
    expect((await fetchFile(`${origin}/m/model.safetensors`, quick)).bytes).toEqual(content);
  });

  it('gives up after some attempts without a byte, with the last reason', async () => {
    fault = (_, response) => {
      response.writeHead(503).end();
      return true;
    };
    const error = await fetchFile(`${origin}/m/model.safetensors`, { ...quick, attempts: 3 }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'network', message: expect.stringContaining('503, 3 times') as string });
    expect(requests).toHaveLength(3);
  });

  it('cuts a connection that sends nothing', async () => {
    fault = (_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('x');
      return true;
    };
    const options = { ...quick, attempts: 1, stallMilliseconds: 50 };
    await expect(fetchFile(`${origin}/m/model.safetensors`, options)).rejects.toThrow(/sent nothing for 0.05 s/);
  });

  it('ends with the error of its listener, at once', async () => {
    const failure = new Error('the bar is gone');
    let calls = 0;
    const fetching = fetchFile(`${origin}/m/model.safetensors`, {
      ...quick,
      onProgress: () => {
        if (++calls < 20) throw failure;
        throw new DimoError('internal', 'called again and again'); // ends a fetch that would go on for ever
      },
    });
    await expect(fetching).rejects.toBe(failure);
    expect(calls).toBe(1);
    expect(requests).toHaveLength(1);
  });

  it('stops on request, refuses absent and too long files, and reads empty ones', async () => {
    const controller = new AbortController();
    fault = (_, response) => {
      response.writeHead(200, { 'content-length': 10 }).write('x', () => controller.abort());
      return true;
    };
    const stopped = fetchFile(`${origin}/m/model.safetensors`, { ...quick, signal: controller.signal });
    await expect(stopped).rejects.toMatchObject({ code: 'cancelled' });
    fault = undefined;
    await expect(fetchFile(`${origin}/absent`)).rejects.toMatchObject({ code: 'option' });
    await expect(fetchFile(`${origin}/m/model.safetensors`, { maximumBytes: 1000 })).rejects.toThrow(
      /longer than 1000/,
    );
    files['/empty'] = new Uint8Array(0);
    expect((await fetchFile(`${origin}/empty`)).bytes).toHaveLength(0);
  });
});

describe('httpModelFolder', () => {
  const addManifest = async (model = content) => {
    const manifest = await modelManifest({ 'model.safetensors': model });
    files['/m/manifest.json'] = new TextEncoder().encode(JSON.stringify(manifest));
    return manifest;
  };

  it('checks files against the manifest and takes them from the cache the second time', async () => {
    const manifest = await addManifest();
    const cache = memoryFileCache();
    const first = httpModelFolder(`${origin}/m`, { cache });
    expect(await first.list()).toEqual(['model.safetensors']);
    expect(await first.read('model.safetensors')).toEqual(content);
    requests.length = 0;
    const seen: boolean[] = [];
    const second = httpModelFolder(`${origin}/m/`, {
      cache,
      integrity: manifest,
      onProgress: ({ fromCache }) => seen.push(fromCache),
    });
    expect(await second.read('model.safetensors')).toEqual(content);
    expect(requests).toEqual([]);
    expect(seen).toEqual([true]);
  });

  it('works without the server once everything is there', async () => {
    await addManifest();
    const cache = memoryFileCache();
    await httpModelFolder(`${origin}/m/`, { cache }).read('model.safetensors');
    fault = (_, response) => {
      response.socket?.destroy();
      return true;
    };
    expect(await httpModelFolder(`${origin}/m/`, { ...quick, cache }).read('model.safetensors')).toEqual(content);
  });

  it('refuses a file that is not the one of the manifest, and does not keep it', async () => {
    await addManifest(content.toReversed());
    const cache = memoryFileCache();
    const folder = httpModelFolder(`${origin}/m/`, { cache });
    await expect(folder.read('model.safetensors')).rejects.toMatchObject({
      code: 'weights',
      message: expect.stringContaining('SHA-256') as string,
    });
    files['/m/model.safetensors'] = content.toReversed();
    expect(await folder.read('model.safetensors')).toEqual(content.toReversed());
  });

  it('fetches a damaged file of the cache again', async () => {
    await addManifest();
    const inner = memoryFileCache();
    const folder = (cache: typeof inner) => httpModelFolder(`${origin}/m/`, { cache });
    await folder(inner).read('model.safetensors');
    const damaging = { ...inner, get: async (key: string) => (await inner.get(key))?.fill(1, 0, 5) };
    requests.length = 0;
    const damagedManifest = {
      ...damaging,
      get: (key: string) => (/json/.test(key) ? inner.get(key) : damaging.get(key)),
    };
    expect(await folder(damagedManifest).read('model.safetensors')).toEqual(content);
    expect(requests.filter(({ url }) => url.endsWith('safetensors'))).toHaveLength(1);
  });

  it('asks for the ETag where there is no manifest, and goes on where nothing can be kept', async () => {
    const cache = memoryFileCache();
    const full = { ...cache, put: () => Promise.reject(new Error('QuotaExceededError')) };
    const folder = (kept: typeof cache) => httpModelFolder(`${origin}/m/`, { cache: kept });
    expect(await folder(full).read('model.safetensors')).toEqual(content);
    expect(await folder(cache).read('model.safetensors')).toEqual(content);
    requests.length = 0;
    expect(await folder(cache).read('model.safetensors')).toEqual(content);
    expect(requests.map(({ method }) => method)).toEqual(['GET', 'HEAD']); // the manifest, then the ETag
    etag = '"two"';
    files['/m/model.safetensors'] = content.toReversed();
    expect(await folder(cache).read('model.safetensors')).toEqual(content.toReversed());
  });

  it('lists what is there, or what the manifest or the page says', async () => {
    expect(await httpModelFolder(`${origin}/m/`).list()).toEqual(['model.safetensors']);
    expect(await httpModelFolder(`${origin}/m/`, { integrity: 'none', files: ['b', 'a'] }).list()).toEqual(['a', 'b']);
    await expect(httpModelFolder(`${origin}/m/`, { integrity: 'manifest' }).list()).rejects.toThrow(/answers 404/);
  });

  it('finds the folders of a teacher and of a run without a manifest', async () => {
    const names = [
      'teacher/teacher.json',
      'teacher/words.json',
      'generator/config.json',
      'generator/model.safetensors',
    ];
    files = Object.fromEntries(names.map((name) => [`/run/${name}`, content]));
    expect([...(await httpModelFolder(`${origin}/run/`).list())].sort()).toEqual([...names].sort());
    expect([...(await httpModelFolder(`${origin}/run/teacher`).list())].sort()).toEqual(['teacher.json', 'words.json']);
  });

  it('stops listing on request, and finds no folder empty for that', async () => {
    const controller = new AbortController();
    fault = ({ method }) => {
      if (method === 'HEAD') controller.abort();
      return method === 'HEAD';
    };
    const folder = httpModelFolder(`${origin}/m/`, { signal: controller.signal });
    await expect(folder.list()).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('keeps names inside the folder, and addresses to http', async () => {
    for (const name of ['../secret', '/etc/passwd', 'a//b', 'a\\b', '', 'http://elsewhere/x', 'a?b'])
      await expect(httpModelFolder(`${origin}/m/`).read(name), name).rejects.toMatchObject({ code: 'option' });
    expect(requests.every(({ url }) => url === '/m/manifest.json')).toBe(true);
    expect(() => httpModelFolder('file:///etc/')).toThrow(DimoError);
    expect(() => httpModelFolder('models/')).toThrow(DimoError); // no page to be relative to in Node
  });

  it('refuses manifests of another form', () => {
    const parse = (value: unknown) => () => parseManifest(new TextEncoder().encode(JSON.stringify(value)), 'place');
    const sha256 = 'a'.repeat(64);
    expect(parse({ version: 1, files: { a: { bytes: 1, sha256 } } })()).toEqual({
      version: 1,
      files: { a: { bytes: 1, sha256 } },
    });
    expect(parse({ version: 2, files: {} })).toThrow(/version 1, got 2/);
    expect(parse({ version: 1, files: { '../a': { bytes: 1, sha256 } } })).toThrow(/no plain file name/);
    expect(parse({ version: 1, files: { a: { bytes: -1, sha256 } } })).toThrow(/whole number/);
    expect(parse({ version: 1, files: { a: { bytes: 1, sha256: 'A'.repeat(64) } } })).toThrow(/64 lowercase/);
    expect(() => parseManifest(Uint8Array.of(0x7b, 0xff), 'place')).toThrow(/is not JSON/);
  });
});

describe('fileListModelFolder', () => {
  const file = (path: string, text: string) =>
    Object.assign(new File([text], path.split('/').at(-1)!), { webkitRelativePath: path });

  it('reads picked files whole and in parts, by their names below the folder', async () => {
    const folder = fileListModelFolder([
      file('mnist/config.json', '{}'),
      file('mnist/text/model.safetensors', '0123456'),
    ]);
    expect(folder.location).toBe('mnist');
    expect(await folder.list()).toEqual(['config.json', 'text/model.safetensors']);
    expect(new TextDecoder().decode(await folder.read('config.json'))).toBe('{}');
    const opened = await folder.open!('text/model.safetensors');
    expect(opened.length).toBe(7);
    expect(new TextDecoder().decode(await opened.read(2, 5))).toBe('234');
    await expect(folder.read('absent')).rejects.toMatchObject({ code: 'io' });
  });

  it('refuses nothing and doubles', () => {
    expect(() => fileListModelFolder([])).toThrow(/no files were picked/);
    expect(() => fileListModelFolder([new File([], 'a'), new File([], 'a')])).toThrow(/two files are called "a"/);
  });
});
