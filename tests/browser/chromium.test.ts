/** The harness of the browser tests itself: a page runs, has a WebGPU adapter, and its errors are seen. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findChromium, startChromium, type TestBrowser } from './chromium.js';
import { isolationHeaders, serveFolder, type FolderServer } from './serve-folder.js';

const found = findChromium();

describe.skipIf(!found.path)(found.path ? 'Chromium' : `Chromium, skipped: ${found.reason}`, () => {
  let browser: TestBrowser;
  let server: FolderServer;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'dimo-page-'));
    await writeFile(path.join(folder, 'index.html'), '<!doctype html><title>t</title><link rel="icon" href="data:,">');
    server = await serveFolder(folder, { headers: isolationHeaders });
    browser = await startChromium();
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  it('gives pages a WebGPU adapter and isolation', async () => {
    const { page, problems, close } = await browser.open(server.origin);
    const facts = await page.evaluate(async () => ({
      isolated: crossOriginIsolated,
      hasAdapter: (await navigator.gpu.requestAdapter()) !== null,
    }));
    expect(facts).toEqual({ isolated: true, hasAdapter: true });
    expect(problems).toEqual([]);
    await close();
  });

  it('collects what goes wrong in a page', async () => {
    const { page, problems, close } = await browser.open(server.origin);
    await page.evaluate(async () => {
      console.error('a complaint');
      setTimeout(() => {
        throw new Error('nobody catches this');
      });
      await fetch('/absent');
      await new Promise((resolve) => setTimeout(resolve, 50));
    });
    expect(problems.join('\n')).toMatch(/a complaint/);
    expect(problems.join('\n')).toMatch(/nobody catches this/);
    expect(problems.join('\n')).toMatch(/404/);
    await close();
  });
});
